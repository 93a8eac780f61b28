// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import KubeObjects
import Linux
import Synchronization
import Values

/// What the node, its pods and their containers use of the machine, read from their control groups when it is asked for.
final class NodeStatistics: Sendable {
    /// Processor time at one moment, from which the next question learns how fast it grows.
    private struct Sample: Sendable {
        let time: Timestamp
        let nanoseconds: UInt64
        var rate: UInt64?
    }

    let context: KubeletContext
    private let samples = Mutex<[String: Sample]>([:])
    /// A rate over less than this is noise.
    private static let shortestInterval = 1.0

    init(context: KubeletContext) { self.context = context }

    // MARK: The summary

    /// The `Summary` of the kubelet's API `stats/v1alpha1`.
    func summary(_ pods: [PodView]) -> JSON {
        let now = Timestamp.now
        forget(keeping: pods)
        let machine = context.machine
        var node = figures(of: context.configuration.cgroupRoot, now)
        node["nodeName"] = JSON(context.configuration.nodeName)
        node["startTime"] = JSON(Self.bootTime.description)
        node["memory"]["availableBytes"] = JSON(
            max(0, Int(clamping: machine.memoryBytes) - (node["memory"]["workingSetBytes"].int ?? 0)))
        node["network"] = Self.network("/proc/self/net/dev", now)
        node["fs"] = Self.fileSystem("/", now)
        node["runtime"] = ["imageFs": Self.fileSystem("/var/lib", now) ?? .null]
        node["rlimit"] = Self.processes(now)
        return ["node": node, "pods": .array(pods.map { summary($0, now) })]
    }

    private func summary(_ pod: PodView, _ now: Timestamp) -> JSON {
        let containers = containers(of: pod)
        var result = context.cgroups.path(of: pod).map { figures(of: $0, now) } ?? [:]
        result["podRef"] = ["name": JSON(pod.name), "namespace": JSON(pod.namespace), "uid": JSON(pod.uid)]
        if let start = pod.object["status"]["startTime"].string { result["startTime"] = JSON(start) }
        result["containers"] = .array(
            containers.map { container in
                var figures = figures(of: container.cgroupPath, now)
                figures["name"] = JSON(Self.name(container))
                if let start = container.startedAt { figures["startTime"] = JSON(start.description) }
                return figures
            })
        if !pod.hostNetwork, let pid = containers.lazy.compactMap(\.pid).first,
            let network = Self.network("/proc/\(pid)/net/dev", now)
        {
            result["network"] = network
        }
        if let group = context.cgroups.path(of: pod), let usage = context.cgroups.usage(of: group) {
            result["process_stats"] = ["process_count": JSON(Int(clamping: usage.processes))]
        }
        return result
    }

    func containers(of pod: PodView) -> [ContainerStatus] {
        context.runtime.containers().filter {
            $0.state == .running && $0.labels[ContainerLabels.podUID] == pod.uid && !$0.cgroupPath.isEmpty
        }
    }

    static func name(_ container: ContainerStatus) -> String {
        container.labels[ContainerLabels.container] ?? container.name
    }

    private func figures(of group: String, _ now: Timestamp) -> JSON {
        guard !group.isEmpty, let usage = context.cgroups.usage(of: group) else { return [:] }
        let time = JSON(now.description)
        var cpu: JSON = ["time": time, "usageCoreNanoSeconds": JSON(Int(clamping: usage.cpuNanoseconds))]
        if let rate = rate(of: group, usage.cpuNanoseconds, now) { cpu["usageNanoCores"] = JSON(Int(clamping: rate)) }
        return [
            "cpu": cpu,
            "memory": [
                "time": time, "usageBytes": JSON(Int(clamping: usage.memoryBytes)),
                "workingSetBytes": JSON(Int(clamping: usage.workingSetBytes)),
            ],
        ]
    }

    /// Nanoseconds of processor time a second since the last question; nil at the first one.
    private func rate(of group: String, _ nanoseconds: UInt64, _ now: Timestamp) -> UInt64? {
        samples.withLock { samples in
            guard let last = samples[group], nanoseconds >= last.nanoseconds else {
                samples[group] = Sample(time: now, nanoseconds: nanoseconds)
                return nil
            }
            let seconds = now.seconds(since: last.time)
            guard seconds >= Self.shortestInterval else { return last.rate }
            let rate = UInt64(exactly: (Double(nanoseconds - last.nanoseconds) / seconds).rounded())
            samples[group] = Sample(time: now, nanoseconds: nanoseconds, rate: rate)
            return rate
        }
    }

    /// Groups of pods that are gone are not asked about again.
    private func forget(keeping pods: [PodView]) {
        let groups = Set(
            [context.configuration.cgroupRoot] + pods.compactMap { context.cgroups.path(of: $0) }
                + pods.flatMap { containers(of: $0).map(\.cgroupPath) })
        samples.withLock { samples in samples = samples.filter { groups.contains($0.key) } }
    }

    // MARK: The machine

    static var bootTime: Timestamp {
        let line = NodeFiles.text("/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }
        return Timestamp(seconds: line?.split(separator: " ").last.flatMap { Int64($0) } ?? 0)
    }

    /// The counters of the interfaces but loopback (proc(5), /proc/net/dev); `eth0`, if there is one, is also the whole.
    private static func network(_ path: String, _ now: Timestamp) -> JSON? {
        guard NodeFiles.exists(path) else { return nil }
        let interfaces: [JSON] = InterfaceCounters.read(path).map { counters in
            [
                "name": JSON(counters.name), "rxBytes": JSON(Int(clamping: counters.received.bytes)),
                "rxErrors": JSON(Int(clamping: counters.received.errors)),
                "txBytes": JSON(Int(clamping: counters.sent.bytes)),
                "txErrors": JSON(Int(clamping: counters.sent.errors)),
            ]
        }
        var result: JSON = interfaces.first { $0["name"].string == "eth0" } ?? [:]
        result["time"] = JSON(now.description)
        result["interfaces"] = .array(interfaces)
        return result
    }

    private static func fileSystem(_ path: String, _ now: Timestamp) -> JSON? {
        var info = statvfs()
        guard statvfs(path, &info) == 0 else { return nil }
        func bytes(_ blocks: fsblkcnt_t) -> JSON {
            JSON(Int(clamping: blocks.multipliedReportingOverflow(by: fsblkcnt_t(info.f_frsize)).partialValue))
        }
        return [
            "time": JSON(now.description), "availableBytes": bytes(info.f_bavail),
            "capacityBytes": bytes(info.f_blocks),
            "usedBytes": bytes(info.f_blocks >= info.f_bfree ? info.f_blocks - info.f_bfree : 0),
            "inodesFree": JSON(Int(clamping: info.f_ffree)), "inodes": JSON(Int(clamping: info.f_files)),
            "inodesUsed": JSON(Int(clamping: info.f_files >= info.f_ffree ? info.f_files - info.f_ffree : 0)),
        ]
    }

    private static func processes(_ now: Timestamp) -> JSON {
        let limit = NodeFiles.text("/proc/sys/kernel/pid_max")?.split(separator: "\n").first.flatMap { Int($0) } ?? 0
        // The fourth of loadavg's fields is runnable/all (proc(5)).
        let fields = NodeFiles.text("/proc/loadavg")?.split(separator: " ") ?? []
        let count = fields.count > 3 ? fields[3].split(separator: "/").last.flatMap { Int($0) } ?? 0 : 0
        return ["time": JSON(now.description), "maxpid": JSON(limit), "curproc": JSON(count)]
    }
}
