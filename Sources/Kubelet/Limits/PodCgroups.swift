// SPDX-License-Identifier: Apache-2.0

import KubeClient
import Linux
import Logging
import Synchronization
import Values

/// What a pod as a whole may use of the machine: sums over its containers.
package struct PodLimits: Hashable, Sendable {
    package var cpuShares: UInt64
    package var cpuQuota: Int64?
    package var memory: Int64?

    /// A container without a limit leaves the pod without that limit.
    package init(of pod: PodView) {
        var request: Int64 = 0
        var cpu: Int64? = 0
        var memory: Int64? = 0
        for container in pod.containers {
            let resources = container.json["resources"]
            let limit = resources["limits"]["cpu"].flatMap(ResourceAmount.milli)
            request += resources["requests"]["cpu"].flatMap(ResourceAmount.milli) ?? limit ?? 0
            cpu = cpu.flatMap { sum in limit.map { sum + $0 } }
            memory = memory.flatMap { sum in
                resources["limits"]["memory"].flatMap(ResourceAmount.value).map { sum + $0 }
            }
        }
        cpuShares = UInt64(min(max(request * 1024 / 1000, 2), 262_144))
        cpuQuota = cpu.flatMap { $0 > 0 ? max($0 * 100, 1000) : nil }
        self.memory = memory.flatMap { $0 > 0 ? $0 : nil }
    }
}

/// The control groups of pods: `kubepods`, in it one for each class of service, in those one a pod.
///
/// The runtime puts containers into them. Where the machine does not let them be set, pods run without.
final class PodCgroups: Sendable {
    private let root: String
    private let layout: CgroupLayout?
    private let log: Logger
    private let shares = Mutex<[String: UInt64]>([:])

    init(root: String, log: Logger) {
        self.root = root
        self.log = log
        guard !root.isEmpty else {
            layout = nil
            return
        }
        do { layout = try CgroupLayout.detect() } catch {
            log.warning("pods have no control groups of their own: \(error)")
            layout = nil
        }
    }

    /// Nil when the kubelet leaves groups to the runtime.
    func path(of pod: PodView) -> String? { root.isEmpty ? nil : "\(root)/\(QoSClass(of: pod).cgroup(uid: pod.uid))" }

    /// What a group uses now; nil when the machine's groups cannot be read.
    func usage(of group: String) -> CgroupUsage? { layout?.usage(of: group) }

    /// All that is counted of a group.
    func figures(of group: String) -> CgroupFigures? { layout?.figures(of: group) }

    func prepare(_ pod: PodView) {
        guard let layout, let group = path(of: pod) else { return }
        let begun = ContinuousClock.now
        defer { KubeletMetrics.cgroupDurations.observe(since: begun, ["create"]) }
        let limits = PodLimits(of: pod)
        let quality = QoSClass(of: pod)
        do throws(Errno) {
            try layout.create(group)
            var wanted = CgroupLimits()
            wanted.cpuShares = limits.cpuShares
            if let quota = limits.cpuQuota {
                wanted.cpuQuota = quota
                wanted.cpuPeriod = 100_000
            }
            wanted.memory = limits.memory
            try layout.set(wanted, on: group)
            switch quality {
            case .guaranteed: break
            case .bestEffort: try set(2, on: "\(root)/kubepods/besteffort", layout)
            case .burstable:
                let sum = shares.withLock { shares in
                    shares[pod.uid] = limits.cpuShares
                    return shares.values.reduce(0, +)
                }
                try set(sum, on: "\(root)/kubepods/burstable", layout)
            }
        } catch {
            log.debug("pod \(pod.key) runs without limits of its own: \(error)")
        }
    }

    private func set(_ shares: UInt64, on group: String, _ layout: CgroupLayout) throws(Errno) {
        var limits = CgroupLimits()
        limits.cpuShares = min(max(shares, 2), 262_144)
        try layout.set(limits, on: group)
    }

    /// The groups of pods that are there, known or not: the pod's uid, and the group.
    func existing() -> [(uid: String, group: String)] {
        guard let layout else { return [] }
        var result: [String: String] = [:]
        for parent in ["kubepods", "kubepods/burstable", "kubepods/besteffort"].map({ "\(root)/\($0)" }) {
            for name in layout.groups(in: parent) where name.hasPrefix("pod") {
                result[String(name.dropFirst(3))] = "\(parent)/\(name)"
            }
        }
        return result.map { (uid: $0.key, group: $0.value) }.sorted { $0.uid < $1.uid }
    }

    func exists(_ group: String) -> Bool { layout?.exists(group) ?? false }

    /// Removes a group with whatever still runs in it.
    func destroy(_ group: String) async throws { try await layout?.destroy(group) }

    /// The pod is gone, and its containers with it.
    func remove(_ pod: PodView) async {
        guard let layout, let group = path(of: pod) else { return }
        let begun = ContinuousClock.now
        defer { KubeletMetrics.cgroupDurations.observe(since: begun, ["destroy"]) }
        let sum = shares.withLock { shares in
            shares.removeValue(forKey: pod.uid).map { _ in shares.values.reduce(0, +) }
        }
        do throws(Errno) {
            try await layout.remove(group)
            if let sum { try set(sum, on: "\(root)/kubepods/burstable", layout) }
        } catch {
            log.debug("cannot remove the control group of pod \(pod.key): \(error)")
        }
    }
}
