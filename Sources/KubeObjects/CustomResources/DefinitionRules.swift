// SPDX-License-Identifier: Apache-2.0

import Values

/// What a CustomResourceDefinition must say, and what of it may not change.
struct DefinitionRules {
    private static let approval = "api-approved.kubernetes.io"

    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        let group = inspection.requireText(spec["group"], "spec.group") ?? ""
        let plural = inspection.requireText(spec["names"]["plural"], "spec.names.plural") ?? ""
        let name = inspection.object["metadata"]["name"].string ?? ""
        if name != "\(plural).\(group)" {
            inspection.report(.invalid("metadata.name", JSON(name), "must be spec.names.plural+\".\"+spec.group"))
        }
        checkGroup(group, &inspection)
        if inspection.requireText(spec["scope"], "spec.scope") != nil {
            inspection.oneOf(spec["scope"], "spec.scope", ["Cluster", "Namespaced"])
        }
        if spec["preserveUnknownFields"].bool == true {
            inspection.report(
                .invalid(
                    "spec.preserveUnknownFields", true,
                    "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
                ))
        }
        checkNames(spec["names"], &inspection)
        checkConversion(spec["conversion"], &inspection)
        checkVersions(spec["versions"], &inspection)
        for field in ["spec.group", "spec.scope", "spec.names.kind", "spec.names.plural"] {
            inspection.immutable(field)
        }
    }

    private static func checkGroup(_ group: String, _ inspection: inout Inspection) {
        guard !group.isEmpty else { return }
        inspection.invalid("spec.group", JSON(group), Names.subdomainProblems(group))
        if !group.contains(".") {
            inspection.report(.invalid("spec.group", JSON(group), "should be a domain with at least one dot"))
        }
        // Kubernetes keeps these for what its reviewers have seen. Definitions of before stay changeable.
        let isProtected = ["k8s.io", "kubernetes.io"].contains { group == $0 || group.hasSuffix(".\($0)") }
        guard isProtected, inspection.old == nil else { return }
        let approval = inspection.object["metadata"]["annotations"][Self.approval].string ?? ""
        if !approval.hasPrefix("https://"), !approval.hasPrefix("unapproved") {
            inspection.report(
                .required(
                    "metadata.annotations[\(Self.approval)]",
                    "protected groups must have approval annotation \"\(Self.approval)\", see "
                        + "https://github.com/kubernetes/enhancements/pull/1111"))
        }
    }

    private static func checkNames(_ names: JSON?, _ inspection: inout Inspection) {
        func label(_ value: JSON?, _ field: String, lowercased: Bool = false) {
            guard let text = value.string, !text.isEmpty else { return }
            inspection.invalid(field, value, Names.label1035Problems(lowercased ? text.lowercased() : text))
        }
        label(names["plural"], "spec.names.plural")
        label(names["singular"], "spec.names.singular")
        if inspection.requireText(names["kind"], "spec.names.kind") != nil {
            label(names["kind"], "spec.names.kind", lowercased: true)
        }
        label(names["listKind"], "spec.names.listKind", lowercased: true)
        for list in ["shortNames", "categories"] {
            for (index, name) in (names[list].array ?? []).enumerated() {
                label(name, "spec.names.\(list)[\(index)]")
            }
        }
        if let kind = names["kind"].string, !kind.isEmpty, names["listKind"].string == kind {
            inspection.report(
                .invalid("spec.names.listKind", JSON(kind), "kind and listKind may not be the same"))
        }
    }

    private static func checkConversion(_ conversion: JSON?, _ inspection: inout Inspection) {
        inspection.oneOf(conversion["strategy"], "spec.conversion.strategy", ["None", "Webhook"])
        if conversion["strategy"].string == "Webhook" {
            if conversion["webhook"]["clientConfig"].object == nil {
                inspection.report(
                    .required("spec.conversion.webhook.clientConfig", "required when strategy is set to Webhook"))
            }
            if conversion["webhook"]["conversionReviewVersions"].array?.isEmpty ?? true {
                inspection.report(.required("spec.conversion.webhook.conversionReviewVersions"))
            }
        } else if conversion["webhook"].object != nil {
            inspection.report(
                .forbidden("spec.conversion.webhook", "should not be set when strategy is not set to Webhook"))
        }
    }

    private static func checkVersions(_ versions: JSON?, _ inspection: inout Inspection) {
        let list = versions.array ?? []
        if list.isEmpty { inspection.report(.required("spec.versions", "must have at least one version")) }
        if list.filter({ $0["storage"].bool == true }).count != 1 {
            inspection.report(
                .invalid(
                    "spec.versions", versions ?? .array([]),
                    "must have exactly one version marked as storage version"))
        }
        var seen: Set<String> = []
        for (index, version) in list.enumerated() {
            let path = "spec.versions[\(index)]"
            if let name = inspection.requireText(version["name"], "\(path).name") {
                inspection.invalid("\(path).name", version["name"], Names.label1035Problems(name))
                if !seen.insert(name).inserted { inspection.report(.duplicate("\(path).name", JSON(name))) }
            }
            if let schema = version["schema"]["openAPIV3Schema"] {
                // What is stored already was judged by the rules of its time.
                let stored = (inspection.old["spec"]["versions"].array ?? []).first { $0["name"] == version["name"] }
                if stored?["schema"]["openAPIV3Schema"] != schema {
                    var rules = StructuralSchemaRules()
                    rules.inspectRoot(schema, "\(path).schema.openAPIV3Schema")
                    for error in rules.errors { inspection.report(error) }
                }
            } else {
                inspection.report(.required("\(path).schema.openAPIV3Schema", "schemas are required"))
            }
            checkColumns(version["additionalPrinterColumns"], "\(path).additionalPrinterColumns", &inspection)
            checkScale(version["subresources"]["scale"], "\(path).subresources.scale", &inspection)
            checkSelectable(version["selectableFields"], "\(path).selectableFields", &inspection)
            if version["deprecationWarning"] != nil, version["deprecated"].bool != true {
                inspection.report(
                    .invalid(
                        "\(path).deprecationWarning", version["deprecationWarning"] ?? "",
                        "can only be set for deprecated versions"))
            }
        }
        // A version in which objects may be stored cannot go: nothing could read them.
        let names = Set(list.compactMap { $0["name"].string })
        for (index, stored) in (inspection.object["status"]["storedVersions"].array ?? []).enumerated()
        where inspection.old != nil && !(stored.string.map(names.contains) ?? false) {
            inspection.report(.invalid("status.storedVersions[\(index)]", stored, "must appear in spec.versions"))
        }
    }

    private static func checkColumns(_ columns: JSON?, _ path: String, _ inspection: inout Inspection) {
        for (index, column) in (columns.array ?? []).enumerated() {
            inspection.requireText(column["name"], "\(path)[\(index)].name")
            if inspection.requireText(column["type"], "\(path)[\(index)].type") != nil {
                inspection.oneOf(
                    column["type"], "\(path)[\(index)].type", ["boolean", "date", "integer", "number", "string"])
            }
            checkPath(column["jsonPath"], "\(path)[\(index)].jsonPath", below: [], &inspection)
        }
    }

    private static func checkScale(_ scale: JSON?, _ path: String, _ inspection: inout Inspection) {
        guard scale.object != nil else { return }
        checkPath(scale["specReplicasPath"], "\(path).specReplicasPath", below: [".spec"], &inspection)
        checkPath(scale["statusReplicasPath"], "\(path).statusReplicasPath", below: [".status"], &inspection)
        if !(scale["labelSelectorPath"].string?.isEmpty ?? true) {
            checkPath(
                scale["labelSelectorPath"], "\(path).labelSelectorPath", below: [".status", ".spec"], &inspection)
        }
    }

    private static func checkSelectable(_ fields: JSON?, _ path: String, _ inspection: inout Inspection) {
        let list = fields.array ?? []
        if list.count > 8 {
            inspection.report(FieldError(.tooMany, path, value: JSON(list.count), detail: "must have at most 8 items"))
        }
        var seen: Set<String> = []
        for (index, field) in list.enumerated() {
            let place = "\(path)[\(index)].jsonPath"
            checkPath(field["jsonPath"], place, below: [], &inspection)
            guard let text = field["jsonPath"].string else { continue }
            if text.contains("[") {
                inspection.report(.invalid(place, JSON(text), "must be a simple JSON path without array notation"))
            }
            if text.hasPrefix(".metadata") {
                inspection.report(.invalid(place, JSON(text), "must not point to fields in metadata"))
            }
            if !seen.insert(text).inserted { inspection.report(.duplicate(place, JSON(text))) }
        }
    }

    private static func checkPath(
        _ value: JSON?, _ field: String, below roots: [String], _ inspection: inout Inspection
    ) {
        guard let text = inspection.requireText(value, field) else { return }
        guard text.hasPrefix(".") else {
            inspection.report(.invalid(field, JSON(text), "must be a json path that begins with a dot"))
            return
        }
        guard !roots.isEmpty, !roots.contains(where: { text.hasPrefix("\($0).") }) else { return }
        let list = roots.joined(separator: " or ")
        inspection.report(.invalid(field, JSON(text), "should be a json path under \(list)"))
    }
}
