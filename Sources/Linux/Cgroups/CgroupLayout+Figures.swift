// SPDX-License-Identifier: Apache-2.0
import Glibc

/// All that the kernel counts of a group, for those who watch it.
public struct CgroupFigures: Sendable, Hashable {
    public var usage = CgroupUsage()
    public var userNanoseconds: UInt64 = 0
    public var systemNanoseconds: UInt64 = 0
    /// Nil where the group may use all processors all the time.
    public var quota: Int64?
    public var period: UInt64 = 0
    public var shares: UInt64 = 0
    /// Periods that have gone by with a quota, and those in which it was used up.
    public var periods: UInt64 = 0
    public var throttledPeriods: UInt64 = 0
    public var throttledNanoseconds: UInt64 = 0
    /// Memory of processes that stands for no file.
    public var residentBytes: UInt64 = 0
    public var cacheBytes: UInt64 = 0
    public var swapBytes: UInt64 = 0
    public var mappedBytes: UInt64 = 0
    public var mostMemoryBytes: UInt64 = 0
    /// How often the limit was reached.
    public var memoryFailures: UInt64 = 0
    public var faults: UInt64 = 0
    public var majorFaults: UInt64 = 0
    /// Nil for none.
    public var memoryLimit: UInt64?
    public var devices: [DeviceFigures] = []

    /// What went between the group and a block device.
    public struct DeviceFigures: Sendable, Hashable {
        /// `MAJOR:MINOR`
        public var number: String
        public var readBytes: UInt64 = 0
        public var writtenBytes: UInt64 = 0
        public var reads: UInt64 = 0
        public var writes: UInt64 = 0

        public init(number: String) { self.number = number }
    }
}

extension CgroupLayout {
    /// What the machine does not count is 0.
    public func figures(of group: String) -> CgroupFigures {
        var figures = CgroupFigures()
        figures.usage = usage(of: group)
        if mode == .v2, let folder = hierarchies.first?.path(of: group) {
            let cpu = Self.table("\(folder)/cpu.stat")
            figures.userNanoseconds = Self.nanoseconds(cpu["user_usec"])
            figures.systemNanoseconds = Self.nanoseconds(cpu["system_usec"])
            figures.periods = cpu["nr_periods"] ?? 0
            figures.throttledPeriods = cpu["nr_throttled"] ?? 0
            figures.throttledNanoseconds = Self.nanoseconds(cpu["throttled_usec"])
            let most = Self.words("\(folder)/cpu.max")
            figures.quota = most.first.flatMap { Int64($0) }
            figures.period = most.count > 1 ? UInt64(most[1]) ?? 0 : 0
            figures.shares = CgroupLimits.shares(forWeight: Self.number("\(folder)/cpu.weight"))
            let memory = Self.table("\(folder)/memory.stat")
            figures.residentBytes = memory["anon"] ?? 0
            figures.cacheBytes = memory["file"] ?? 0
            figures.mappedBytes = memory["file_mapped"] ?? 0
            figures.faults = memory["pgfault"] ?? 0
            figures.majorFaults = memory["pgmajfault"] ?? 0
            figures.swapBytes = Self.number("\(folder)/memory.swap.current")
            figures.mostMemoryBytes = Self.number("\(folder)/memory.peak")
            figures.memoryFailures = Self.table("\(folder)/memory.events")["max"] ?? 0
            figures.memoryLimit = Self.words("\(folder)/memory.max").first.flatMap { UInt64($0) }
            figures.devices = Self.devices(unified: (try? Files.text("\(folder)/io.stat")) ?? "")
            return figures
        }
        if let folder = path(of: group, controller: "cpuacct") {
            let ticks = UInt64(max(sysconf(Int32(_SC_CLK_TCK)), 1))
            let time = Self.table("\(folder)/cpuacct.stat")
            figures.userNanoseconds = (time["user"] ?? 0) &* (1_000_000_000 / ticks)
            figures.systemNanoseconds = (time["system"] ?? 0) &* (1_000_000_000 / ticks)
        }
        if let folder = path(of: group, controller: "cpu") {
            let cpu = Self.table("\(folder)/cpu.stat")
            figures.periods = cpu["nr_periods"] ?? 0
            figures.throttledPeriods = cpu["nr_throttled"] ?? 0
            figures.throttledNanoseconds = cpu["throttled_time"] ?? 0
            figures.quota = Self.words("\(folder)/cpu.cfs_quota_us").first.flatMap { Int64($0) }.flatMap {
                $0 > 0 ? $0 : nil
            }
            figures.period = Self.number("\(folder)/cpu.cfs_period_us")
            figures.shares = Self.number("\(folder)/cpu.shares")
        }
        if let folder = path(of: group, controller: "memory") {
            let memory = Self.table("\(folder)/memory.stat")
            figures.residentBytes = memory["total_rss"] ?? 0
            figures.cacheBytes = memory["total_cache"] ?? 0
            figures.mappedBytes = memory["total_mapped_file"] ?? 0
            figures.swapBytes = memory["total_swap"] ?? 0
            figures.faults = memory["total_pgfault"] ?? 0
            figures.majorFaults = memory["total_pgmajfault"] ?? 0
            figures.mostMemoryBytes = Self.number("\(folder)/memory.max_usage_in_bytes")
            figures.memoryFailures = Self.number("\(folder)/memory.failcnt")
            let limit = Self.number("\(folder)/memory.limit_in_bytes")
            // Without a limit the kernel writes the largest number of pages.
            figures.memoryLimit = limit > 0 && limit < 1 << 62 ? limit : nil
        }
        if let folder = path(of: group, controller: "blkio") {
            figures.devices = Self.devices(
                bytes: (try? Files.text("\(folder)/blkio.throttle.io_service_bytes_recursive")) ?? "",
                operations: (try? Files.text("\(folder)/blkio.throttle.io_serviced_recursive")) ?? "")
        }
        return figures
    }

    private static func words(_ path: String) -> [Substring] {
        ((try? Files.text(path)) ?? "").split(whereSeparator: \.isWhitespace)
    }

    private static func number(_ path: String) -> UInt64 { words(path).first.flatMap { UInt64($0) } ?? 0 }

    /// A file of names and numbers.
    private static func table(_ path: String) -> [Substring: UInt64] {
        var result: [Substring: UInt64] = [:]
        for line in ((try? Files.text(path)) ?? "").split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count == 2 { result[fields[0]] = UInt64(fields[1]) }
        }
        return result
    }

    private static func nanoseconds(_ microseconds: UInt64?) -> UInt64 { (microseconds ?? 0) &* 1000 }

    /// v1: `8:0 Read 4096`, a line for each kind of operation, and at the end the sum over all devices.
    package static func devices(bytes: String, operations: String) -> [CgroupFigures.DeviceFigures] {
        var result: [String: CgroupFigures.DeviceFigures] = [:]
        func read(
            _ text: String, _ reads: WritableKeyPath<CgroupFigures.DeviceFigures, UInt64>,
            _ writes: WritableKeyPath<CgroupFigures.DeviceFigures, UInt64>
        ) {
            for line in text.split(separator: "\n") {
                let fields = line.split(separator: " ")
                guard fields.count == 3, fields[0].contains(":"), let number = UInt64(fields[2]) else { continue }
                let device = String(fields[0])
                switch fields[1] {
                case "Read": result[device, default: .init(number: device)][keyPath: reads] = number
                case "Write": result[device, default: .init(number: device)][keyPath: writes] = number
                default: break
                }
            }
        }
        read(bytes, \.readBytes, \.writtenBytes)
        read(operations, \.reads, \.writes)
        return result.values.sorted { $0.number < $1.number }
    }

    /// v2: `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …`
    package static func devices(unified text: String) -> [CgroupFigures.DeviceFigures] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard let first = fields.first, first.contains(":") else { return nil }
            var device = CgroupFigures.DeviceFigures(number: String(first))
            for field in fields.dropFirst() {
                let pair = field.split(separator: "=")
                guard pair.count == 2, let number = UInt64(pair[1]) else { continue }
                switch pair[0] {
                case "rbytes": device.readBytes = number
                case "wbytes": device.writtenBytes = number
                case "rios": device.reads = number
                case "wios": device.writes = number
                default: break
                }
            }
            return device
        }
    }
}

extension CgroupLimits {
    /// The other way of ``weight(forShares:)``.
    package static func shares(forWeight weight: UInt64) -> UInt64 {
        let bounded = min(max(weight, 1), 10000)
        return 2 + (bounded - 1) * 262_142 / 9999
    }
}
