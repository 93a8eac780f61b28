// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for amounts of resources: what containers ask for and may use, and what pods do in sum.
enum ResourceRules {
    /// What the amounts belong to: that decides which resources there can be.
    enum Owner { case container, pod }

    private static let pod = ["cpu", "memory"]
    private static let standard: Set<String> = [
        "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
        "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", "resourcequotas", "services",
        "replicationcontrollers", "secrets", "persistentvolumeclaims", "configmaps", "storage",
        "requests.storage", "services.nodeports", "services.loadbalancers",
    ]
    private static let ofContainers: Set<String> = ["cpu", "memory", "ephemeral-storage"]

    static func isHugePages(_ name: String) -> Bool { name.hasPrefix("hugepages-") }

    /// Resources of Kubernetes' own, which nodes may promise more of than they have.
    private static func isNative(_ name: String) -> Bool { !name.contains("/") || name.contains("kubernetes.io/") }

    /// More may be used than is asked for.
    static func isDivisible(_ name: String) -> Bool { isNative(name) && !isHugePages(name) }

    private static func isExtended(_ name: String) -> Bool {
        !isNative(name) && !name.hasPrefix("requests.") && Names.qualifiedNameProblems("requests.\(name)").isEmpty
    }

    /// A name that is qualified, or one of those that Kubernetes knows.
    static func name(_ inspection: inout Inspection, _ name: String, at path: String) -> Bool {
        let problems = Names.qualifiedNameProblems(name)
        inspection.invalid(path, JSON(name), problems)
        guard problems.isEmpty else { return false }
        if !name.contains("/"), !standard.contains(name), !isHugePages(name), !name.hasPrefix("requests.hugepages-") {
            inspection.report(.invalid(path, JSON(name), "must be a standard resource type or fully qualified"))
            return false
        }
        return true
    }

    static func containerName(_ inspection: inout Inspection, _ name: String, at path: String) {
        _ = self.name(&inspection, name, at: path)
        if !name.contains("/") {
            if !ofContainers.contains(name), !isHugePages(name) {
                inspection.report(.invalid(path, JSON(name), "must be a standard resource for containers"))
            }
        } else if !isNative(name), !isExtended(name) {
            inspection.report(.invalid(path, JSON(name), "doesn't follow extended resource name standard"))
        }
    }

    private static func checkName(_ inspection: inout Inspection, _ name: String, at path: String, _ owner: Owner) {
        switch owner {
        case .container: containerName(&inspection, name, at: path)
        case .pod:
            guard self.name(&inspection, name, at: path), !pod.contains(name), !isHugePages(name) else { return }
            inspection.report(.notSupported(path, JSON(name), pod))
        }
    }

    /// Counted in whole things.
    private static let counted: Set<String> = [
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    ]

    static func isWhole(_ name: String) -> Bool { counted.contains(name) || isExtended(name) }

    /// An amount that is not negative, and whole where halves make no sense.
    static func amount(_ inspection: inout Inspection, _ value: JSON, at path: String, isWhole: Bool) {
        guard let amount = PodResources.quantity(value) else { return }
        if amount < .zero { inspection.report(.invalid(path, value, "must be greater than or equal to 0")) }
        if isWhole, Quantity(amount.value) != amount { inspection.report(.invalid(path, value, "must be an integer")) }
    }

    /// The amounts of one list.
    static func list(_ inspection: inout Inspection, _ list: JSON?, at path: String, _ owner: Owner) {
        inspection.eachMember(list, path) { inspection, name, value, place in
            checkName(&inspection, name, at: place, owner)
            amount(&inspection, value, at: place, isWhole: isWhole(name))
            guard isHugePages(name), let amount = PodResources.quantity(value),
                let page = Quantity(name.dropFirst("hugepages-".count)), page.value > 0,
                amount.value % page.value != 0
            else { return }
            inspection.report(.invalid(place, value, "\(amount) is not positive integer multiple of \(name)"))
        }
    }

    static func requirements(_ inspection: inout Inspection, _ resources: JSON?, at path: String, _ owner: Owner) {
        list(&inspection, resources["limits"], at: "\(path).limits", owner)
        list(&inspection, resources["requests"], at: "\(path).requests", owner)
        for (name, value) in resources["requests"].object ?? [:] {
            guard let request = PodResources.quantity(value) else { continue }
            guard let limit = PodResources.quantity(resources["limits"][name]) else {
                if !isDivisible(name) {
                    inspection.report(
                        .required("\(path).limits", "Limit must be set for non overcommitable resources"))
                }
                continue
            }
            if !isDivisible(name), request != limit {
                inspection.report(
                    .invalid("\(path).requests", value, "must be equal to \(name) limit of \(limit)"))
            } else if limit < request {
                inspection.report(
                    .invalid("\(path).requests", value, "must be less than or equal to \(name) limit of \(limit)"))
            }
        }
        let names = ["limits", "requests"].flatMap { resources[$0].object?.keys ?? [] }
        if names.contains(where: isHugePages), !names.contains("cpu"), !names.contains("memory") {
            inspection.report(.forbidden(path, "HugePages require cpu or memory"))
        }
    }

    static func container(_ inspection: inout Inspection, _ resources: JSON?, at path: String, claims: Set<String>) {
        requirements(&inspection, resources, at: path, .container)
        var seen = Set<String>()
        inspection.each(resources["claims"], "\(path).claims") { inspection, claim, place in
            guard let name = inspection.requireText(claim["name"], place) else { return }
            let request = claim["request"].string ?? ""
            inspection.text(claim["request"], "\(place).request", Names.labelProblems)
            let key = request.isEmpty ? name : "\(name)/\(request)"
            // A claim as a whole contains all of its requests.
            let overlaps =
                seen.contains(name) || seen.contains(key)
                || (request.isEmpty && seen.contains { $0.hasPrefix("\(name)/") })
            if overlaps { inspection.report(.duplicate(place, JSON(seen.contains(name) ? name : key))) }
            seen.insert(key)
            if !claims.contains(name) {
                let list = claims.isEmpty ? " which is empty" : ": " + claims.sorted().joined(separator: ", ")
                inspection.report(
                    FieldError(
                        .notFound, place, value: JSON(name),
                        detail: "must be one of the names in pod.spec.resourceClaims" + list))
            }
        }
    }

    /// What a pod may use in sum, beside what its containers may.
    static func pod(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        guard let resources = spec["resources"] else { return }
        let place = "\(path).resources"
        inspection.forbid(resources["claims"], "\(place).claims", "claims cannot be set for Resources at pod-level")
        requirements(&inspection, resources, at: place, .pod)
        let sums = PodResources.total(spec.without(["resources"]), .requests, withOverhead: false)
        for (name, sum) in sums.sorted(by: { $0.key < $1.key }) where pod.contains(name) || isHugePages(name) {
            let whole = PodResources.quantity(resources["requests"][name]) ?? .zero
            guard sum > whole else { continue }
            inspection.report(
                .invalid(
                    "\(place).requests[\(name)]", JSON(whole.description),
                    "must be greater than or equal to aggregate container requests of \(sum)"))
        }
        inspection.each(spec["containers"], "\(place).containers") { inspection, container, place in
            for (name, value) in container["resources"]["limits"].object ?? [:] {
                guard let limit = PodResources.quantity(value),
                    let whole = PodResources.quantity(resources["limits"][name]), limit > whole
                else { continue }
                inspection.report(
                    .invalid(
                        "\(place)[\(name)].limits", value, "must be less than or equal to pod limits of \(whole)"
                    ))
            }
        }
    }

    static func resizePolicy(
        _ inspection: inout Inspection, _ policies: JSON?, at path: String, restartPolicy: String
    ) {
        var seen = Set<String>()
        inspection.each(policies, path) { inspection, policy, place in
            inspection.unique(policy["resourceName"], place, &seen)
            // Upstream names the list, and not the policy, for what follows.
            inspection.oneOf(policy["resourceName"], path, ["cpu", "memory"], missing: .required)
            inspection.oneOf(
                policy["restartPolicy"], path, ["NotRequired", "RestartContainer"], missing: .required)
            if restartPolicy == "Never", let wanted = policy["restartPolicy"].string, wanted != "NotRequired" {
                inspection.report(
                    .invalid(path, JSON(wanted), "must be 'NotRequired' when `restartPolicy` is 'Never'"))
            }
        }
    }
}
