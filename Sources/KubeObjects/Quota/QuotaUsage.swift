// SPDX-License-Identifier: Apache-2.0

public import Values

/// What an object costs: the one calculation that admission charges by and the controller counts by.
public enum QuotaUsage {
    private static let counters: Set<String> = ["configmaps", "secrets", "replicationcontrollers", "resourcequotas"]
    static let classSuffix = ".storageclass.storage.k8s.io/"

    /// The resource (`pods`, `jobs.batch`) whose objects a name in a quota counts; nil for a name without a meaning.
    public static func counted(by name: String) -> String? {
        if name.hasPrefix("count/") { return String(name.dropFirst("count/".count)) }
        if counters.contains(name) { return name }
        if name == "services" || name.hasPrefix("services.") { return "services" }
        if name == "persistentvolumeclaims" || name == "requests.storage" || name.contains(classSuffix) {
            return "persistentvolumeclaims"
        }
        if ["pods", "cpu", "memory", "ephemeral-storage"].contains(name) || name.hasPrefix("hugepages-")
            || name.hasPrefix("requests.") || name.hasPrefix("limits.")
        {
            return "pods"
        }
        return nil
    }

    /// Everything that an object uses, under every name that a quota may count it by.
    public static func of(_ object: KubeObject, _ groupResource: String, now: Timestamp) -> ResourceAmounts {
        var usage: ResourceAmounts = ["count/\(groupResource)": Quantity(1)]
        switch groupResource {
        case "pods": if isAlive(object, now: now) { usage.add(pod(object["spec"])) }
        case "services": usage.add(service(object["spec"]))
        case "persistentvolumeclaims": usage.add(claim(object))
        default: if counters.contains(groupResource) { usage[groupResource] = Quantity(1) }
        }
        return usage
    }

    /// Finished pods use nothing, nor do those whose node did not end them in time.
    private static func isAlive(_ pod: KubeObject, now: Timestamp) -> Bool {
        if ["Succeeded", "Failed"].contains(pod["status"]["phase"].string) { return false }
        guard let end = pod.deletionTimestamp, let grace = pod.metadata["deletionGracePeriodSeconds"].int else {
            return true
        }
        return now <= end.adding(seconds: Double(grace))
    }

    private static func pod(_ spec: JSON?) -> ResourceAmounts {
        var usage = compute(PodResources.total(spec, .requests), PodResources.total(spec, .limits))
        usage["pods"] = Quantity(1)
        return usage
    }

    /// The names under which requests and limits are counted.
    static func compute(_ requests: ResourceAmounts, _ limits: ResourceAmounts) -> ResourceAmounts {
        var usage: ResourceAmounts = [:]
        for (name, amount) in requests {
            if ["cpu", "memory", "ephemeral-storage"].contains(name) || name.hasPrefix("hugepages-") {
                usage[name] = amount
                usage["requests.\(name)"] = amount
            } else if PodResources.isExtended(name) {
                usage["requests.\(name)"] = amount
            }
        }
        for name in ["cpu", "memory", "ephemeral-storage"] {
            if let amount = limits[name] { usage["limits.\(name)"] = amount }
        }
        return usage
    }

    private static func service(_ spec: JSON?) -> ResourceAmounts {
        let ports = spec["ports"].array ?? []
        var nodePorts = 0
        var balancers = 0
        switch spec["type"].string {
        case "NodePort": nodePorts = ports.count
        case "LoadBalancer":
            balancers = 1
            let allocates = spec["allocateLoadBalancerNodePorts"].bool ?? true
            nodePorts = allocates ? ports.count : ports.count { ($0["nodePort"].int ?? 0) != 0 }
        default: break
        }
        return [
            "services": Quantity(1), "services.nodeports": Quantity(Int64(nodePorts)),
            "services.loadbalancers": Quantity(Int64(balancers)),
        ]
    }

    private static func claim(_ claim: KubeObject) -> ResourceAmounts {
        var usage: ResourceAmounts = ["persistentvolumeclaims": Quantity(1)]
        let wanted = PodResources.quantity(claim["spec"]["resources"]["requests"]["storage"])
        // A larger volume that was already given counts until it is known that it shrank.
        let given = PodResources.quantity(claim["status"]["allocatedResources"]["storage"])
        let storage = [wanted, given].compactMap { $0 }.max()
        if let storage { usage["requests.storage"] = storage }
        let beta = claim.annotations["volume.beta.kubernetes.io/storage-class"]
        if let name = beta ?? claim["spec"]["storageClassName"].string, !name.isEmpty {
            usage["\(name)\(classSuffix)persistentvolumeclaims"] = Quantity(1)
            if let storage { usage["\(name)\(classSuffix)requests.storage"] = storage }
        }
        return usage
    }
}
