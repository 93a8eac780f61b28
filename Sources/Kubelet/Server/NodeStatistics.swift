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

    private let context: KubeletContext
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

    private func containers(of pod: PodView) -> [ContainerStatus] {
        context.runtime.containers().filter {
            $0.state == .running && $0.labels[ContainerLabels.podUID] == pod.uid && !$0.cgroupPath.isEmpty
        }
    }

    private static func name(_ container: ContainerStatus) -> String {
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

    private static var bootTime: Timestamp {
        let line = NodeFiles.text("/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }
        return Timestamp(seconds: line?.split(separator: " ").last.flatMap { Int64($0) } ?? 0)
    }

    /// The counters of the interfaces but loopback (proc(5), /proc/net/dev); `eth0`, if there is one, is also the whole.
    private static func network(_ path: String, _ now: Timestamp) -> JSON? {
        guard let text = NodeFiles.text(path) else { return nil }
        let interfaces: [JSON] = text.split(separator: "\n").compactMap { line in
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { return nil }
            let name = parts[0].drop { $0 == " " }
            let numbers = parts[1].split(separator: " ").map { Int($0) ?? 0 }
            guard name != "lo", numbers.count >= 11 else { return nil }
            return [
                "name": JSON(String(name)), "rxBytes": JSON(numbers[0]), "rxErrors": JSON(numbers[2]),
                "txBytes": JSON(numbers[8]), "txErrors": JSON(numbers[10]),
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

    // MARK: Metrics

    /// `/metrics/resource`: what a metrics server asks for.
    func resourceMetrics(_ pods: [PodView]) -> String {
        var text = MetricsText()
        var cpu: [(String, Double)] = []
        var memory: [(String, Double)] = []
        var starts: [(String, Double)] = []
        var podCPU: [(String, Double)] = []
        var podMemory: [(String, Double)] = []
        for pod in pods {
            let place = "namespace=\"\(pod.namespace)\",pod=\"\(pod.name)\""
            for container in containers(of: pod) {
                guard let usage = context.cgroups.usage(of: container.cgroupPath) else { continue }
                let labels = "container=\"\(Self.name(container))\",\(place)"
                cpu.append((labels, Double(usage.cpuNanoseconds) / 1e9))
                memory.append((labels, Double(usage.workingSetBytes)))
                if let start = container.startedAt {
                    starts.append((labels, start.seconds(since: Timestamp(seconds: 0))))
                }
            }
            guard let group = context.cgroups.path(of: pod), let usage = context.cgroups.usage(of: group) else {
                continue
            }
            podCPU.append((place, Double(usage.cpuNanoseconds) / 1e9))
            podMemory.append((place, Double(usage.workingSetBytes)))
        }
        text.add("container_cpu_usage_seconds_total", "counter", "Processor time of a container in seconds.", cpu)
        text.add("container_memory_working_set_bytes", "gauge", "Memory that a container cannot do without.", memory)
        text.add("container_start_time_seconds", "gauge", "When a container was started, since the epoch.", starts)
        text.add("pod_cpu_usage_seconds_total", "counter", "Processor time of a pod in seconds.", podCPU)
        text.add("pod_memory_working_set_bytes", "gauge", "Memory that a pod cannot do without.", podMemory)
        let root = context.configuration.cgroupRoot
        let node = root.isEmpty ? nil : context.cgroups.usage(of: root)
        text.add(
            "node_cpu_usage_seconds_total", "counter", "Processor time of the node in seconds.",
            node.map { [("", Double($0.cpuNanoseconds) / 1e9)] } ?? [])
        text.add(
            "node_memory_working_set_bytes", "gauge", "Memory that the node cannot do without.",
            node.map { [("", Double($0.workingSetBytes))] } ?? [])
        text.add(
            "resource_scrape_error", "gauge", "1 when the node's figures cannot be read.",
            [("", node == nil ? 1 : 0)])
        return text.text
    }

    /// `/metrics/cadvisor`: the groups of containers, pods and the node, under the names that dashboards ask for.
    func groupMetrics(_ pods: [PodView]) -> String {
        var groups: [(labels: String, usage: CgroupUsage)] = []
        func add(_ group: String, _ pod: PodView?, _ container: ContainerStatus? = nil) {
            guard !group.isEmpty, let usage = context.cgroups.usage(of: group) else { return }
            let name = container.map(Self.name) ?? ""
            groups.append(
                (
                    "container=\"\(name)\",id=\"\(group)\",image=\"\(container?.image ?? "")\","
                        + "name=\"\(container?.id ?? "")\",namespace=\"\(pod?.namespace ?? "")\","
                        + "pod=\"\(pod?.name ?? "")\"", usage
                ))
        }
        add(context.configuration.cgroupRoot, nil)
        for pod in pods {
            add(context.cgroups.path(of: pod) ?? "", pod)
            for container in containers(of: pod) { add(container.cgroupPath, pod, container) }
        }
        var text = MetricsText()
        text.add(
            "container_cpu_usage_seconds_total", "counter", "Processor time in seconds.",
            groups.map { ($0.labels, Double($0.usage.cpuNanoseconds) / 1e9) })
        text.add(
            "container_memory_usage_bytes", "gauge", "Memory with the page cache.",
            groups.map { ($0.labels, Double($0.usage.memoryBytes)) })
        text.add(
            "container_memory_working_set_bytes", "gauge", "Memory that cannot be done without.",
            groups.map { ($0.labels, Double($0.usage.workingSetBytes)) })
        text.add(
            "container_processes", "gauge", "Processes that run.",
            groups.map { ($0.labels, Double($0.usage.processes)) })
        return text.text
    }

    /// `/metrics`: the kubelet's own figures.
    func ownMetrics(_ pods: Int) -> String {
        var text = MetricsText()
        text.add(
            "kubelet_node_name", "gauge", "The node's name.", [("node=\"\(context.configuration.nodeName)\"", 1)])
        text.add("kubelet_active_pods", "gauge", "Pods that the kubelet is concerned with.", [("", Double(pods))])
        let containers = context.runtime.containers()
        let sandboxes = context.runtime.sandboxes().count { $0.state == .ready }
        text.add("kubelet_running_pods", "gauge", "Pods that have a sandbox.", [("", Double(sandboxes))])
        text.add(
            "kubelet_running_containers", "gauge", "Containers by state.",
            [ContainerStatus.State.created, .running, .exited].map { state in
                ("container_state=\"\(state.rawValue)\"", Double(containers.count { $0.state == state }))
            })
        return text.text
    }
}

/// The text format of Prometheus.
private struct MetricsText {
    private(set) var text = ""

    mutating func add(_ name: String, _ type: String, _ help: String, _ values: [(labels: String, value: Double)]) {
        guard !values.isEmpty else { return }
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        for (labels, value) in values { text += "\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(value)\n" }
    }
}
