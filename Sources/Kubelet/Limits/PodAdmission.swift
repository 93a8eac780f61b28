// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
import NetworkModel
import Values

/// Why a node does not take a pod that was bound to it.
package struct PodRefusal: Error, Hashable, Sendable {
    /// `OutOfpods`, `SysctlForbidden`: as clients match it.
    package let reason: String
    package let message: String

    package init(reason: String, message: String) {
        self.reason = reason
        self.message = message
    }
}

/// What the pods of a node ask for together: whoever binds a pod without looking (`spec.nodeName`, a second scheduler)
/// is refused by the node itself.
package struct NodeLoad: Sendable {
    private var requests: [String: Resources] = [:]
    private var total = Resources()
    /// By uid: the node's ports that pods have.
    private var ports: [String: [AskedHostPort]] = [:]

    package init() {}

    package var pods: Int { requests.count }

    /// Takes the pod in, or says why there is no room. One that has been started here before is not refused any more.
    package mutating func admit(_ pod: PodView, allocatable: Resources) -> PodRefusal? {
        guard requests[pod.uid] == nil else { return nil }
        let request = Resources.requested(by: pod.spec)
        let asked = AskedHostPort.asked(by: pod.spec)
        if pod.object["status"]["startTime"] == nil {
            if let refusal = Sysctls.refusal(of: pod) { return refusal }
            if let system = pod.spec["os"]["name"].string, system != "linux" {
                return PodRefusal(
                    reason: "PodOSNotSupported", message: "Failed to admit pod as the OS field doesn't match node OS")
            }
            if let refusal = refusal(of: request, allocatable) { return refusal }
            if ports.values.contains(where: { held in held.contains { port in asked.contains(where: port.conflicts) } })
            {
                return PodRefusal(
                    reason: "NodePorts",
                    message:
                        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")
            }
        }
        if !asked.isEmpty { ports[pod.uid] = asked }
        requests[pod.uid] = request
        total.add(request)
        return nil
    }

    package mutating func release(_ uid: String) {
        ports[uid] = nil
        if let request = requests.removeValue(forKey: uid) { total.subtract(request) }
    }

    private func refusal(of request: Resources, _ allocatable: Resources) -> PodRefusal? {
        var wanted = request.amounts
        wanted["pods"] = 1
        for (name, amount) in wanted.sorted(by: { $0.key < $1.key }) where amount > 0 {
            // What the node has never told of is not the node's to count.
            guard let capacity = allocatable.amounts[name] else { continue }
            let used = name == "pods" ? Int64(pods) : total[name]
            guard amount > capacity - used else { continue }
            return PodRefusal(
                reason: "OutOf\(name)",
                message:
                    "Node didn't have enough resource: \(name), requested: \(amount), used: \(used), capacity: \(capacity)"
            )
        }
        return nil
    }
}

/// Kernel parameters of pods: those that harm nobody but the pod are set, all others refused.
package enum Sysctls {
    /// Upstream's list.
    package static let safe: Set<String> = [
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    ]

    /// With dots; what is written with slashes may have dots within its parts.
    package static func dotted(_ name: String) -> String {
        guard let first = name.first(where: { $0 == "." || $0 == "/" }), first == "/" else { return name }
        return String(name.map { $0 == "/" ? "." : $0 == "." ? "/" : $0 })
    }

    package static func refusal(of pod: PodView) -> PodRefusal? {
        let usesHostIPC = pod.spec["hostIPC"].bool ?? false
        for entry in pod.spec["securityContext"]["sysctls"].array ?? [] {
            let given = entry["name"].string ?? ""
            let name = dotted(given)
            func forbidden(_ why: String) -> PodRefusal {
                PodRefusal(reason: "SysctlForbidden", message: "forbidden sysctl: \"\(given)\" \(why)")
            }
            guard safe.contains(name) else { return forbidden("not allowlisted") }
            if pod.hostNetwork, name.hasPrefix("net.") { return forbidden("not allowed with host net enabled") }
            if usesHostIPC, name.hasPrefix("kernel.shm") { return forbidden("not allowed with host ipc enabled") }
        }
        return nil
    }
}
