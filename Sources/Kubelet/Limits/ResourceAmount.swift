// SPDX-License-Identifier: Apache-2.0

import KubeObjects
package import Values

/// Amounts of resources as numbers, for cgroups and the downward API.
package enum ResourceAmount {
    /// No amount is more than these: what is computed from sums and products of them fits.
    private static let mostUnits: Int64 = 1 << 50
    private static let mostMilli: Int64 = 1 << 40

    static func quantity(_ json: JSON) -> Quantity? {
        switch json {
        case .int(let number): Quantity(number)
        case .double(let number): Quantity("\(number)")
        case .string(let text): Quantity(text)
        default: nil
        }
    }

    /// The amount in thousandths, rounded up; nil when it is no quantity.
    package static func milli(_ json: JSON) -> Int64? {
        quantity(json).map { min(max($0.milliValue, 0), mostMilli) }
    }

    /// The amount in whole units, rounded up.
    package static func value(_ json: JSON) -> Int64? {
        quantity(json).map { min(max($0.value, 0), mostUnits) }
    }
}

/// How well a pod is treated when memory gets short.
package enum QoSClass: String, Sendable {
    case guaranteed = "Guaranteed"
    case burstable = "Burstable"
    case bestEffort = "BestEffort"

    /// The rule of Kubernetes over cpu and memory of all containers.
    package init(of pod: PodView) {
        var isGuaranteed = true
        var asksAnything = false
        for container in pod.allContainers {
            let resources = container.json["resources"]
            for name in ["cpu", "memory"] {
                let limit = resources["limits"][name].flatMap(ResourceAmount.milli) ?? 0
                let request = resources["requests"][name].flatMap(ResourceAmount.milli) ?? limit
                if limit > 0 || request > 0 { asksAnything = true }
                if limit == 0 || limit != request { isGuaranteed = false }
            }
        }
        self = !asksAnything ? .bestEffort : isGuaranteed ? .guaranteed : .burstable
    }

    /// The pod's cgroup below the kubelet's: `kubepods/burstable/podUID`.
    package func cgroup(uid: String) -> String {
        switch self {
        case .guaranteed: "kubepods/pod\(uid)"
        case .burstable: "kubepods/burstable/pod\(uid)"
        case .bestEffort: "kubepods/besteffort/pod\(uid)"
        }
    }
}

/// How ready the kernel is to kill a container when memory runs out.
package enum OOMScore {
    package static func adjustment(of container: ContainerView, qos: QoSClass, nodeMemory: Int64) -> Int {
        switch qos {
        case .guaranteed: return -997
        case .bestEffort: return 1000
        case .burstable:
            let resources = container.json["resources"]
            let request = (resources["requests"]["memory"] ?? resources["limits"]["memory"]).flatMap(
                ResourceAmount.value)
            let share = nodeMemory > 0 ? Int(Double(request ?? 0) * 1000 / Double(nodeMemory)) : 0
            return min(max(1000 - share, 3), 999)
        }
    }
}
