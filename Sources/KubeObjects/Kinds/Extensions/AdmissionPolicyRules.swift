// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for admission policies and their bindings. Expressions are stored as they are.
enum AdmissionPolicyRules {
    private static let mostAnnotations = 20

    static func policy(_ inspection: inout Inspection, isMutating: Bool) {
        let spec = inspection.object["spec"]
        inspection.oneOf(spec["failurePolicy"], "spec.failurePolicy", ["Fail", "Ignore"], missing: .required)
        if let kind = spec["paramKind"] { self.kind(&inspection, kind) }
        if let match = spec["matchConstraints"] {
            AdmissionRules.resources(matching: match, at: "spec.matchConstraints", &inspection)
            if (match["resourceRules"].array ?? []).isEmpty {
                inspection.report(.required("spec.matchConstraints.resourceRules"))
            }
        } else {
            inspection.report(.required("spec.matchConstraints"))
        }
        AdmissionRules.conditions(&inspection, spec["matchConditions"], at: "spec.matchConditions")
        var names = Set<String>()
        inspection.each(spec["variables"], "spec.variables") { inspection, variable, path in
            if let name = inspection.requireText(variable["name"], "\(path).name", "name is not specified"),
                !isIdentifier(name)
            {
                inspection.report(.invalid("\(path).name", JSON(name), "name is not a valid CEL identifier"))
            }
            inspection.unique(variable["name"], "\(path).name", &names)
            AdmissionRules.expression(&inspection, variable["expression"], at: "\(path).expression")
        }
        if isMutating { mutations(&inspection, spec) } else { validations(&inspection, spec) }
    }

    private static func isIdentifier(_ name: String) -> Bool {
        guard let first = name.utf8.first, !Names.isDigit(first) else { return false }
        return name.utf8.allSatisfy {
            Names.isLower($0) || Names.isLower($0 | 0x20) && $0 >= 0x41 || Names.isDigit($0) || $0 == 0x5F
        }
    }

    private static func kind(_ inspection: inout Inspection, _ kind: JSON) {
        let path = "spec.paramKind"
        if let apiVersion = inspection.requireText(kind["apiVersion"], "\(path).apiVersion") {
            let parts = apiVersion.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            if parts.count > 2 {
                inspection.report(
                    .invalid(
                        "\(path).apiVersion", JSON(apiVersion),
                        "unexpected GroupVersion string: \(apiVersion)"))
            } else {
                if parts.count == 2 {
                    inspection.invalid("\(path).apiVersion", JSON(apiVersion), Names.subdomainProblems(parts[0]))
                }
                inspection.invalid(
                    "\(path).apiVersion", JSON(apiVersion), Names.label1035Problems(parts[parts.count - 1]))
            }
        }
        inspection.requireText(kind["kind"], "\(path).kind") { Names.label1035Problems($0.lowercased()) }
    }

    private static func validations(_ inspection: inout Inspection, _ spec: JSON?) {
        let detail = "validations or auditAnnotations must be non-empty"
        if ["validations", "auditAnnotations"].allSatisfy({ (spec[$0].array ?? []).isEmpty }) {
            inspection.report(.required("spec.validations", detail))
            inspection.report(.required("spec.auditAnnotations", detail))
        }
        inspection.each(spec["validations"], "spec.validations") { inspection, validation, path in
            AdmissionRules.expression(&inspection, validation["expression"], at: "\(path).expression")
            if let message = validation["message"].string, !message.isEmpty {
                if message.allSatisfy(\.isWhitespace) {
                    inspection.report(
                        .invalid("\(path).message", JSON(message), "message must be non-empty if specified"))
                } else if message.contains(where: \.isNewline) {
                    inspection.report(
                        .invalid("\(path).message", JSON(message), "message must not contain line breaks"))
                }
            }
            if let text = validation["messageExpression"].string, !text.isEmpty, text.allSatisfy(\.isWhitespace) {
                inspection.report(
                    .invalid("\(path).messageExpression", JSON(text), "must be non-empty if specified"))
            }
            inspection.oneOf(
                validation["reason"], "\(path).reason",
                ["Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge"])
        }
        let annotations = spec["auditAnnotations"].array ?? []
        if annotations.count > mostAnnotations {
            inspection.report(
                .invalid(
                    "spec.auditAnnotations", .array(annotations),
                    "must not have more than \(mostAnnotations) auditAnnotations"))
        }
        var keys = Set<String>()
        inspection.each(spec["auditAnnotations"], "spec.auditAnnotations") { inspection, annotation, path in
            inspection.requireText(annotation["key"], "\(path).key", Names.qualifiedNameProblems)
            inspection.unique(annotation["key"], "\(path).key", &keys)
            AdmissionRules.expression(
                &inspection, annotation["valueExpression"], at: "\(path).valueExpression",
                detail: "valueExpression is not specified")
        }
    }

    private static func mutations(_ inspection: inout Inspection, _ spec: JSON?) {
        if (spec["mutations"].array ?? []).isEmpty {
            inspection.report(.required("spec.mutations", "mutations must contain at least one item"))
        }
        let members = [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")]
        inspection.each(spec["mutations"], "spec.mutations") { inspection, mutation, path in
            inspection.oneOf(
                mutation["patchType"], "\(path).patchType", members.map(\.0), missing: .required)
            for (type, member) in members {
                let place = "\(path).\(member)"
                if mutation["patchType"].string == type {
                    if mutation[member] == nil {
                        inspection.report(.required(place, "must be specified when patchType is \(type)"))
                    } else {
                        AdmissionRules.expression(
                            &inspection, mutation[member]["expression"], at: "\(place).expression")
                    }
                } else if let other = mutation[member], let chosen = mutation["patchType"].string {
                    inspection.report(
                        .invalid(place, other, "must not specify \(member) when patchType is \(chosen)"))
                }
            }
        }
        inspection.oneOf(
            spec["reinvocationPolicy"], "spec.reinvocationPolicy", ["IfNeeded", "Never"], missing: .required)
    }

    static func binding(_ inspection: inout Inspection, isMutating: Bool) {
        let spec = inspection.object["spec"]
        inspection.requireText(spec["policyName"], "spec.policyName", Names.subdomainProblems)
        if let reference = spec["paramRef"] { self.reference(&inspection, reference) }
        if let match = spec["matchResources"] {
            AdmissionRules.resources(matching: match, at: "spec.matchResources", &inspection)
        }
        if !isMutating { actions(&inspection, spec["validationActions"]) }
    }

    private static func reference(_ inspection: inout Inspection, _ reference: JSON) {
        let path = "spec.paramRef"
        let name = reference["name"].string ?? ""
        switch (name.isEmpty, reference["selector"]) {
        case (false, _?):
            for field in ["name", "selector"] {
                inspection.report(.forbidden("\(path).\(field)", "name and selector are mutually exclusive"))
            }
        case (true, nil):
            inspection.report(.required(path, "one of name or selector must be specified"))
        case (false, nil): inspection.text(reference["name"], "\(path).name", Names.pathSegmentProblems)
        case (true, let selector?): LabelSelectorRules.inspect(&inspection, selector, at: "\(path).selector")
        }
        inspection.text(reference["namespace"], "\(path).namespace", Names.labelProblems)
        inspection.oneOf(
            reference["parameterNotFoundAction"], "\(path).parameterNotFoundAction", ["Deny", "Allow"],
            missing: .required)
    }

    private static func actions(_ inspection: inout Inspection, _ actions: JSON?) {
        let path = "spec.validationActions"
        let given = actions.array?.compactMap(\.string) ?? []
        if given.isEmpty { inspection.report(.required(path, "at least one validation action is required")) }
        var seen = Set<String>()
        inspection.each(actions, path) { inspection, action, place in
            inspection.oneOf(action, place, ["Audit", "Deny", "Warn"], missing: .notSupported)
            inspection.unique(action, place, &seen)
        }
        if given.contains("Deny"), given.contains("Warn") {
            inspection.report(
                .invalid(
                    path, JSON(given),
                    "must not contain both Deny and Warn (repeating the same validation failure information in the API "
                        + "response and headers serves no purpose)"))
        }
    }
}
