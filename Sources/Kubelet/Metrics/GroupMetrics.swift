// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import KubeObjects
import Linux
import Values

/// `/metrics/cadvisor`: what the groups of the node, its pods and its containers use, and what pods send and receive,
/// under the names that cAdvisor gives and dashboards ask for.
struct GroupMetrics {
    private struct Group {
        let labels: String
        let figures: CgroupFigures
        let container: ContainerStatus?
        let limits: JSON?
        let startedAt: Timestamp?
        let fileSystem: FileSystem
        let layer: Int64?
    }

    /// The device that a container's own files are on.
    struct FileSystem {
        let device: String
        let capacity: Double
    }

    private struct Interface {
        let labels: String
        let counters: InterfaceCounters
    }

    private var groups: [Group] = []
    private var interfaces: [Interface] = []
    private let machine: Machine
    private let names = DeviceNames()

    init(_ statistics: NodeStatistics, _ pods: [PodView]) {
        let context = statistics.context
        machine = context.machine
        let disk = Self.fileSystem(of: context.configuration.rootDirectory, names)
        func add(_ group: String, _ pod: PodView?, _ container: ContainerStatus? = nil) {
            guard !group.isEmpty, let figures = context.cgroups.figures(of: group) else { return }
            let name = container.map(NodeStatistics.name) ?? ""
            let view = pod?.allContainers.first { $0.name == name }
            groups.append(
                Group(
                    labels: Self.labels(
                        container: name, id: group, image: container?.image ?? "", name: container?.id ?? "", pod),
                    figures: figures, container: container, limits: view?.json["resources"],
                    startedAt: container == nil
                        ? pod?.object["status"]["startTime"].string.flatMap { Timestamp($0) } : container?.startedAt,
                    fileSystem: disk,
                    layer: container.map { DiskUsage.bytes(below: context.runtime.writableLayer($0.id)) }))
        }
        add(context.configuration.cgroupRoot, nil)
        for counters in InterfaceCounters.read("/proc/self/net/dev") {
            interfaces.append(
                Interface(
                    labels: Self.labels(container: "", id: "/", image: "", name: "", nil)
                        + ",interface=\"\(counters.name)\"", counters: counters))
        }
        for pod in pods {
            let group = context.cgroups.path(of: pod) ?? ""
            let containers = statistics.containers(of: pod)
            add(group, pod)
            for container in containers { add(container.cgroupPath, pod, container) }
            guard !pod.hostNetwork, let pid = containers.lazy.compactMap(\.pid).first else { continue }
            // What a pod sends is the sandbox's, as cAdvisor tells it.
            let sandbox = containers.first?.sandboxID ?? ""
            for counters in InterfaceCounters.read("/proc/\(pid)/net/dev") {
                interfaces.append(
                    Interface(
                        labels: Self.labels(
                            container: "", id: group, image: "catbird/pause", name: sandbox, pod)
                            + ",interface=\"\(counters.name)\"", counters: counters))
            }
        }
    }

    private static func labels(
        container: String, id: String, image: String, name: String, _ pod: PodView?
    ) -> String {
        "container=\"\(container)\",id=\"\(id)\",image=\"\(image)\",name=\"\(name)\","
            + "namespace=\"\(pod?.namespace ?? "")\",pod=\"\(pod?.name ?? "")\""
    }

    var text: String {
        var text = MetricsText()
        addProcessors(&text)
        addMemory(&text)
        addDisks(&text)
        addNetwork(&text)
        addSpecifications(&text)
        text.add("machine_cpu_cores", "gauge", "Processors of the node.", [("", Double(machine.processors))])
        text.add("machine_memory_bytes", "gauge", "Memory of the node.", [("", Double(machine.memoryBytes))])
        return text.text
    }

    private func values(_ value: (CgroupFigures) -> UInt64) -> [(String, Double)] {
        groups.map { ($0.labels, Double(value($0.figures))) }
    }

    private func seconds(_ value: (CgroupFigures) -> UInt64) -> [(String, Double)] {
        groups.map { ($0.labels, Double(value($0.figures)) / 1e9) }
    }

    private func addProcessors(_ text: inout MetricsText) {
        let total = groups.map { ($0.labels + ",cpu=\"total\"", Double($0.figures.usage.cpuNanoseconds) / 1e9) }
        text.add("container_cpu_usage_seconds_total", "counter", "Processor time in seconds.", total)
        text.add(
            "container_cpu_user_seconds_total", "counter", "Processor time in programs.", seconds(\.userNanoseconds))
        text.add(
            "container_cpu_system_seconds_total", "counter", "Processor time in the kernel.",
            seconds(\.systemNanoseconds))
        // Only a group with a quota has periods, as cAdvisor has it.
        let limited = groups.filter { $0.figures.quota != nil }
        text.add(
            "container_cpu_cfs_periods_total", "counter", "Periods of the quota that went by.",
            limited.map { ($0.labels, Double($0.figures.periods)) })
        text.add(
            "container_cpu_cfs_throttled_periods_total", "counter", "Periods in which the quota was used up.",
            limited.map { ($0.labels, Double($0.figures.throttledPeriods)) })
        text.add(
            "container_cpu_cfs_throttled_seconds_total", "counter", "Time that was waited for the next period.",
            limited.map { ($0.labels, Double($0.figures.throttledNanoseconds) / 1e9) })
        text.add("container_processes", "gauge", "Processes that run.", values(\.usage.processes))
    }

    private func addMemory(_ text: inout MetricsText) {
        text.add(
            "container_memory_usage_bytes", "gauge", "Memory with the page cache.", values(\.usage.memoryBytes))
        text.add(
            "container_memory_working_set_bytes", "gauge", "Memory that cannot be done without.",
            values(\.usage.workingSetBytes))
        text.add("container_memory_rss", "gauge", "Memory that stands for no file.", values(\.residentBytes))
        text.add("container_memory_cache", "gauge", "The page cache.", values(\.cacheBytes))
        text.add("container_memory_swap", "gauge", "What was swapped out.", values(\.swapBytes))
        text.add("container_memory_mapped_file", "gauge", "Files that are mapped.", values(\.mappedBytes))
        text.add("container_memory_max_usage_bytes", "gauge", "The most there was.", values(\.mostMemoryBytes))
        text.add("container_memory_failcnt", "counter", "How often the limit was reached.", values(\.memoryFailures))
        text.add(
            "container_memory_failures_total", "counter", "Page faults.",
            groups.flatMap { group in
                [("pgfault", group.figures.faults), ("pgmajfault", group.figures.majorFaults)].map { type, count in
                    (group.labels + ",failure_type=\"\(type)\",scope=\"hierarchy\"", Double(count))
                }
            })
    }

    private func addDisks(_ text: inout MetricsText) {
        typealias Value = (CgroupFigures.DeviceFigures) -> UInt64
        func add(_ name: String, _ help: String, _ value: Value) {
            text.add(
                name, "counter", help,
                groups.flatMap { group -> [(String, Double)] in
                    let devices = group.figures.devices
                    // What has never touched a disk has read nothing of its own.
                    guard !devices.isEmpty else {
                        return [(group.labels + ",device=\"\(group.fileSystem.device)\"", 0)]
                    }
                    return devices.map { device in
                        (group.labels + ",device=\"\(names.path(device.number))\"", Double(value(device)))
                    }
                })
        }
        add("container_fs_reads_bytes_total", "Bytes read from devices.", \.readBytes)
        add("container_fs_writes_bytes_total", "Bytes written to devices.", \.writtenBytes)
        add("container_fs_reads_total", "Reads from devices.", \.reads)
        add("container_fs_writes_total", "Writes to devices.", \.writes)
        let own = groups.compactMap { group in
            group.layer.map { (group.labels + ",device=\"\(group.fileSystem.device)\"", Double($0), group.fileSystem) }
        }
        text.add(
            "container_fs_usage_bytes", "gauge", "What a container has written over its image.",
            own.map { ($0.0, $0.1) })
        text.add("container_fs_limit_bytes", "gauge", "The disk that it is on.", own.map { ($0.0, $0.2.capacity) })
    }

    private func addNetwork(_ text: inout MetricsText) {
        for direction in ["receive", "transmit"] {
            let receives = direction == "receive"
            func add(_ name: String, _ help: String, _ value: (InterfaceCounters.Way) -> UInt64) {
                text.add(
                    "container_network_\(direction)_\(name)_total", "counter", help,
                    interfaces.map { ($0.labels, Double(value(receives ? $0.counters.received : $0.counters.sent))) })
            }
            add("bytes", "Bytes on interfaces.", \.bytes)
            add("packets", "Packets on interfaces.", \.packets)
            add("packets_dropped", "Packets that were dropped.", \.dropped)
            add("errors", "Errors on interfaces.", \.errors)
        }
    }

    private func addSpecifications(_ text: inout MetricsText) {
        let containers = groups.filter { $0.container != nil }
        text.add(
            "container_spec_cpu_period", "gauge", "The period of the quota in microseconds.",
            groups.map { ($0.labels, Double($0.figures.period)) })
        text.add(
            "container_spec_cpu_quota", "gauge", "Processor time a period, in microseconds.",
            groups.compactMap { group in group.figures.quota.map { (group.labels, Double($0)) } })
        text.add("container_spec_cpu_shares", "gauge", "The share of processors.", values(\.shares))
        text.add(
            "container_spec_memory_limit_bytes", "gauge", "The most memory; 0 for no limit.",
            groups.map { ($0.labels, Double($0.figures.memoryLimit ?? 0)) })
        text.add(
            "container_spec_memory_reservation_limit_bytes", "gauge", "Memory that was asked for.",
            containers.map { group in
                (group.labels, Double(group.limits["requests"]["memory"].flatMap(ResourceAmount.value) ?? 0))
            })
        text.add(
            "container_start_time_seconds", "gauge", "When it was started, since the epoch.",
            groups.compactMap { group in
                group.startedAt.map { (group.labels, $0.seconds(since: Timestamp(seconds: 0))) }
            })
        let now = Timestamp.now.seconds(since: Timestamp(seconds: 0)).rounded(.down)
        text.add(
            "container_last_seen", "gauge", "When it was seen last, since the epoch.", groups.map { ($0.labels, now) })
    }

    private static func fileSystem(of path: String, _ names: DeviceNames) -> FileSystem {
        var info = stat()
        var space = statvfs()
        let device = stat(path, &info) == 0 ? names.path("\(major(info.st_dev)):\(minor(info.st_dev))") : ""
        let blocks = statvfs(path, &space) == 0 ? Double(space.f_blocks) * Double(space.f_frsize) : 0
        return FileSystem(device: device, capacity: blocks)
    }

    private static func major(_ device: dev_t) -> UInt64 { UInt64(device) >> 8 & 0xFFF | UInt64(device) >> 32 & ~0xFFF }
    private static func minor(_ device: dev_t) -> UInt64 { UInt64(device) & 0xFF | UInt64(device) >> 12 & 0xFFFF_FF00 }
}

/// The paths of block devices by their numbers.
struct DeviceNames {
    /// `/dev/sda` for `8:0`; a device that no hardware stands behind has only its number.
    func path(_ number: String) -> String {
        guard let target = NodeFiles.link("/sys/dev/block/\(number)"), let name = target.split(separator: "/").last
        else {
            return number
        }
        return "/dev/\(name)"
    }
}

/// What went over an interface.
package struct InterfaceCounters: Sendable, Hashable {
    package struct Way: Sendable, Hashable {
        package var bytes: UInt64
        package var packets: UInt64
        package var errors: UInt64
        package var dropped: UInt64
    }

    package let name: String
    package let received: Way
    package let sent: Way

    /// A line of /proc/net/dev (proc(5)).
    package init?(_ line: some StringProtocol) {
        let parts = line.split(separator: ":", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        let numbers = parts[1].split(separator: " ").compactMap { UInt64($0) }
        guard numbers.count >= 12 else { return nil }
        name = String(parts[0].drop { $0 == " " })
        received = Way(bytes: numbers[0], packets: numbers[1], errors: numbers[2], dropped: numbers[3])
        sent = Way(bytes: numbers[8], packets: numbers[9], errors: numbers[10], dropped: numbers[11])
    }

    /// Those of all interfaces but loopback.
    static func read(_ path: String) -> [InterfaceCounters] {
        (NodeFiles.text(path) ?? "").split(separator: "\n").compactMap { InterfaceCounters($0) }.filter {
            $0.name != "lo"
        }
    }
}
