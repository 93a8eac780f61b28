// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What lies outside of the ranges of a LimitRange.
enum LimitConstraints {
    static func pod(_ spec: JSON?, _ range: KubeObject) -> [String] {
        var problems: [String] = []
        for item in range["spec"]["limits"].array ?? [] {
            switch item["type"].string {
            case "Container":
                for list in ["containers", "initContainers"] {
                    for container in spec[list].array ?? [] {
                        let resources = container["resources"]
                        problems += check(
                            item, "Container", PodResources.amounts(resources["requests"]),
                            PodResources.amounts(resources["limits"]))
                    }
                }
            case "Pod":
                problems += check(
                    item, "Pod", PodResources.total(spec, .requests, withOverhead: false),
                    PodResources.total(spec, .limits, withOverhead: false))
            default: continue
            }
        }
        return problems
    }

    static func claim(_ claim: KubeObject, _ range: KubeObject) -> [String] {
        let requests = PodResources.amounts(claim["spec"]["resources"]["requests"])
        var problems: [String] = []
        for item in range["spec"]["limits"].array ?? [] where item["type"].string == "PersistentVolumeClaim" {
            for (name, bound) in sorted(item["min"]) {
                problems += least(name, "PersistentVolumeClaim", bound, requests[name], nil)
            }
            for (name, bound) in sorted(item["max"]) {
                let rule = "maximum \(name) usage per PersistentVolumeClaim is \(bound)"
                if let request = requests[name] {
                    if request > bound { problems.append("\(rule), but request is \(request)") }
                } else {
                    problems.append("\(rule).  No request is specified")
                }
            }
        }
        return problems
    }

    private static func check(
        _ item: JSON, _ type: String, _ requests: ResourceAmounts, _ limits: ResourceAmounts
    ) -> [String] {
        var problems: [String] = []
        for (name, bound) in sorted(item["min"]) { problems += least(name, type, bound, requests[name], limits[name]) }
        for (name, bound) in sorted(item["max"]) { problems += most(name, type, bound, requests[name], limits[name]) }
        for (name, bound) in sorted(item["maxLimitRequestRatio"]) {
            problems += ratio(name, type, bound, requests[name], limits[name])
        }
        return problems
    }

    private static func sorted(_ json: JSON?) -> [(key: String, value: Quantity)] {
        PodResources.amounts(json).sorted { $0.key < $1.key }
    }

    private static func least(
        _ name: String, _ type: String, _ bound: Quantity, _ request: Quantity?, _ limit: Quantity?
    ) -> [String] {
        let rule = "minimum \(name) usage per \(type) is \(bound)"
        guard let request else { return ["\(rule).  No request is specified"] }
        if request < bound { return ["\(rule), but request is \(request)"] }
        if let limit, limit < bound { return ["\(rule), but limit is \(limit)"] }
        return []
    }

    private static func most(
        _ name: String, _ type: String, _ bound: Quantity, _ request: Quantity?, _ limit: Quantity?
    ) -> [String] {
        let rule = "maximum \(name) usage per \(type) is \(bound)"
        guard let limit else { return ["\(rule).  No limit is specified"] }
        if limit > bound { return ["\(rule), but limit is \(limit)"] }
        if let request, request > bound { return ["\(rule), but request is \(request)"] }
        return []
    }

    private static func ratio(
        _ name: String, _ type: String, _ bound: Quantity, _ request: Quantity?, _ limit: Quantity?
    ) -> [String] {
        let rule = "\(name) max limit to request ratio per \(type) is \(bound)"
        guard let request, !request.isZero else { return ["\(rule), but no request is specified or request is 0"] }
        guard let limit, !limit.isZero else { return ["\(rule), but no limit is specified or limit is 0"] }
        let observed = limit.double / request.double
        guard observed > bound.double else { return [] }
        return ["\(rule), but provided ratio is \(GoFormat.fixed(observed))"]
    }
}
