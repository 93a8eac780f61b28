// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for what is claimed: which devices, how many, and how they are set up.
enum DeviceRules {
    static let mostConfigurations = 32
    private static let mostRequests = 32
    private static let mostAlternatives = 8
    private static let mostConstraints = 32
    private static let mostSelectors = 32
    private static let longestExpression = 10 * 1024
    private static let largestParameters = 10 * 1024

    static func selectors(_ inspection: inout Inspection, _ selectors: JSON?, at path: String) {
        inspection.atMost(elements: mostSelectors, selectors, path)
        inspection.each(selectors, path) { inspection, selector, place in
            guard let expression = selector["cel"]["expression"] else {
                inspection.report(.required("\(place).cel"))
                return
            }
            inspection.requireText(expression, "\(place).cel.expression")
            inspection.atMost(longestExpression, expression, "\(place).cel.expression")
        }
    }

    static func configuration(_ inspection: inout Inspection, _ configuration: JSON, at path: String) {
        guard let opaque = configuration["opaque"] else {
            inspection.report(.required("\(path).opaque"))
            return
        }
        VolumeSourceRules.driverName(&inspection, opaque["driver"], at: "\(path).opaque.driver")
        guard let parameters = opaque["parameters"], !parameters.isNull else {
            inspection.report(.required("\(path).opaque.parameters"))
            return
        }
        if parameters.object == nil {
            inspection.report(
                .invalid("\(path).opaque.parameters", "<value omitted>", "must be a valid JSON object"))
        } else if parameters.text().utf8.count > largestParameters {
            inspection.report(
                FieldError(
                    .tooLong, "\(path).opaque.parameters", detail: "may not be more than \(largestParameters) bytes"))
        }
    }

    static func claim(_ inspection: inout Inspection, _ devices: JSON?, at path: String) {
        guard let devices else { return }
        var known = Set<String>()
        for request in devices["requests"].array ?? [] {
            guard let name = request["name"].string else { continue }
            known.insert(name)
            for other in request["firstAvailable"].array ?? [] { known.insert("\(name)/\(other["name"].string ?? "")") }
        }
        var names = Set<String>()
        inspection.atMost(elements: mostRequests, devices["requests"], "\(path).requests")
        inspection.each(devices["requests"], "\(path).requests") { inspection, request, place in
            inspection.unique(request["name"], place, &names)
            self.request(&inspection, request, at: place)
        }
        inspection.atMost(elements: mostConstraints, devices["constraints"], "\(path).constraints")
        inspection.each(devices["constraints"], "\(path).constraints") { inspection, constraint, place in
            requests(&inspection, constraint["requests"], at: "\(place).requests", known)
            let chosen = ["matchAttribute", "distinctAttribute"].filter { constraint[$0] != nil }
            if chosen.isEmpty {
                inspection.report(
                    .required(place, "exactly one of `matchAttribute` or `distinctAttribute` is required"))
            }
            for field in chosen { qualified(&inspection, constraint[field], at: "\(place).\(field)") }
        }
        inspection.atMost(elements: mostConfigurations, devices["config"], "\(path).config")
        inspection.each(devices["config"], "\(path).config") { inspection, configuration, place in
            requests(&inspection, configuration["requests"], at: "\(place).requests", known)
            self.configuration(&inspection, configuration, at: place)
        }
    }

    /// Names of requests, and of alternatives behind a slash.
    private static func requests(
        _ inspection: inout Inspection, _ list: JSON?, at path: String, _ known: Set<String>
    ) {
        var seen = Set<String>()
        inspection.eachText(list, path) { inspection, name, place in
            inspection.unique(JSON(name), place, &seen)
            if !known.contains(name) {
                inspection.report(
                    .invalid(
                        place, JSON(name),
                        "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
                    ))
            }
        }
    }

    /// `domain/name`.
    static func qualified(_ inspection: inout Inspection, _ value: JSON?, at path: String) {
        let name = value.string ?? ""
        guard name.contains("/") else {
            inspection.report(.invalid(path, JSON(name), "a valid resource attribute name must include a domain"))
            return
        }
        inspection.invalid(path, JSON(name), Names.qualifiedNameProblems(name))
    }

    private static func request(_ inspection: inout Inspection, _ request: JSON, at path: String) {
        inspection.requireText(request["name"], "\(path).name", Names.labelProblems)
        let alternatives = request["firstAvailable"].array ?? []
        switch (request["exactly"], alternatives.isEmpty) {
        case (nil, true):
            inspection.report(.required(path, "exactly one of `exactly` or `firstAvailable` is required"))
        case (_?, false):
            inspection.report(
                .invalid(
                    path, .null,
                    "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"))
        case (let exactly?, true): wanted(&inspection, exactly, at: "\(path).exactly")
        case (nil, false):
            inspection.atMost(elements: mostAlternatives, request["firstAvailable"], "\(path).firstAvailable")
            var names = Set<String>()
            inspection.each(request["firstAvailable"], "\(path).firstAvailable") { inspection, alternative, place in
                inspection.requireText(alternative["name"], "\(place).name", Names.labelProblems)
                inspection.unique(alternative["name"], place, &names)
                wanted(&inspection, alternative, at: place)
            }
        }
    }

    private static func wanted(_ inspection: inout Inspection, _ request: JSON, at path: String) {
        inspection.requireText(request["deviceClassName"], "\(path).deviceClassName", Names.subdomainProblems)
        selectors(&inspection, request["selectors"], at: "\(path).selectors")
        let count = request["count"].int ?? 0
        switch request["allocationMode"].string {
        case "All":
            if count != 0 {
                inspection.report(
                    .invalid("\(path).count", JSON(count), "must not be specified when allocationMode is 'All'"))
            }
        case "ExactCount": inspection.positive(JSON(count), "\(path).count", "must be greater than zero")
        default:
            inspection.oneOf(
                request["allocationMode"], "\(path).allocationMode", ["All", "ExactCount"], missing: .notSupported)
        }
        inspection.each(request["tolerations"], "\(path).tolerations") { inspection, toleration, place in
            inspection.text(toleration["key"], "\(place).key", Names.qualifiedNameProblems)
            inspection.oneOf(toleration["operator"], "\(place).operator", ["Equal", "Exists"], missing: .required)
            inspection.oneOf(toleration["effect"], "\(place).effect", ["NoExecute", "NoSchedule"])
        }
    }
}

/// What must hold for what a driver tells of the devices of a node or of a network.
enum ResourceSliceRules {
    private static let mostDevices = 128
    private static let mostAttributes = 32
    private static let longestPool = 253

    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        VolumeSourceRules.driverName(&inspection, spec["driver"], at: "spec.driver")
        pool(&inspection, spec["pool"])
        let places = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"].filter { field in
            switch spec[field] {
            case nil, .bool(false)?, .string("")?: false
            default: true
            }
        }
        let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
        if places.isEmpty {
            inspection.report(.required("spec", detail))
        } else if places.count > 1 {
            inspection.report(.invalid("spec", JSON("{\(places.joined(separator: ", "))}"), detail))
        }
        inspection.text(spec["nodeName"], "spec.nodeName", Names.subdomainProblems)
        if let selector = spec["nodeSelector"] {
            NodeSelectorRules.inspect(&inspection, selector, at: "spec.nodeSelector")
            if let terms = selector["nodeSelectorTerms"].array, terms.count > 1 {
                inspection.report(
                    .invalid(
                        "spec.nodeSelector.nodeSelectorTerms", .array(terms),
                        "must have exactly one node selector term"))
            }
        }
        guard inspection.atMost(elements: mostDevices, spec["devices"], "spec.devices") else { return }
        var names = Set<String>()
        inspection.each(spec["devices"], "spec.devices") { inspection, device, path in
            inspection.requireText(device["name"], "\(path).name", Names.labelProblems)
            inspection.unique(device["name"], path, &names)
            let count = (device["attributes"].object?.count ?? 0) + (device["capacity"].object?.count ?? 0)
            if count > mostAttributes {
                inspection.report(
                    .invalid(
                        path, JSON(count),
                        "the total number of attributes and capacities must not exceed \(mostAttributes)"))
            }
            inspection.eachMember(device["attributes"], "\(path).attributes") { inspection, _, value, place in
                switch value.object?.count ?? 0 {
                case 0: inspection.report(.required(place, "exactly one value must be specified"))
                case 1: break
                default: inspection.report(.invalid(place, value, "exactly one value must be specified"))
                }
            }
            inspection.each(device["taints"], "\(path).taints") { inspection, taint, place in
                inspection.requireText(taint["key"], "\(place).key", Names.qualifiedNameProblems)
                inspection.oneOf(
                    taint["effect"], "\(place).effect", ["NoExecute", "NoSchedule", "None"], missing: .required)
            }
        }
    }

    private static func pool(_ inspection: inout Inspection, _ pool: JSON?) {
        if let name = inspection.requireText(pool["name"], "spec.pool.name") {
            inspection.atMost(longestPool, pool["name"], "spec.pool.name")
            for part in name.split(separator: "/", omittingEmptySubsequences: false) {
                inspection.invalid("spec.pool.name", JSON(String(part)), Names.subdomainProblems(String(part)))
            }
        }
        inspection.positive(
            pool["resourceSliceCount"] ?? 0, "spec.pool.resourceSliceCount", "must be greater than zero")
        inspection.notNegative(pool["generation"], "spec.pool.generation")
    }
}
