// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What a group may use; nil leaves a limit as it is.
public struct CgroupLimits: Sendable, Hashable {
    /// v1's scale: 1024 is one share of a processor's worth.
    public var cpuShares: UInt64?
    /// Microseconds of processor time a period; -1 for no limit.
    public var cpuQuota: Int64?
    public var cpuPeriod: UInt64?
    /// Bytes; -1 for no limit.
    public var memory: Int64?
    /// -1 for no limit.
    public var processes: Int64?

    public init(
        cpuShares: UInt64? = nil, cpuQuota: Int64? = nil, cpuPeriod: UInt64? = nil, memory: Int64? = nil,
        processes: Int64? = nil
    ) {
        self.cpuShares = cpuShares
        self.cpuQuota = cpuQuota
        self.cpuPeriod = cpuPeriod
        self.memory = memory
        self.processes = processes
    }

    /// v2's weight (1 to 10000) for v1's shares (2 to 262144), as the OCI runtimes convert it.
    public static func weight(forShares shares: UInt64) -> UInt64 {
        let bounded = min(max(shares, 2), 262_144)
        return 1 + (bounded - 2) * 9999 / 262_142
    }
}

/// What a group has used.
public struct CgroupUsage: Sendable, Hashable {
    public var cpuNanoseconds: UInt64 = 0
    /// With the page cache.
    public var memoryBytes: UInt64 = 0
    /// Memory without the page cache that could be dropped at once.
    public var workingSetBytes: UInt64 = 0
    public var processes: UInt64 = 0
}

extension CgroupLayout {
    /// Sets limits of an existing group; where the machine lacks a controller its limits are left out.
    ///
    /// - Returns: the controllers that were asked for and are missing.
    @discardableResult
    public func set(_ limits: CgroupLimits, on group: String) throws(Errno) -> [String] {
        var missing: [String] = []
        func text(_ value: Int64, _ unlimited: String) -> String { value < 0 ? unlimited : String(value) }
        if limits.cpuShares != nil || limits.cpuQuota != nil || limits.cpuPeriod != nil {
            if let hierarchy = hierarchy(of: "cpu") {
                let folder = hierarchy.path(of: group)
                if hierarchy.isUnified {
                    if let shares = limits.cpuShares {
                        try Files.write("\(folder)/cpu.weight", "\(CgroupLimits.weight(forShares: shares))")
                    }
                    if limits.cpuQuota != nil || limits.cpuPeriod != nil {
                        let quota = text(limits.cpuQuota ?? -1, "max")
                        try Files.write("\(folder)/cpu.max", "\(quota) \(limits.cpuPeriod ?? 100_000)")
                    }
                } else {
                    if let shares = limits.cpuShares { try Files.write("\(folder)/cpu.shares", "\(max(shares, 2))") }
                    if let period = limits.cpuPeriod { try Files.write("\(folder)/cpu.cfs_period_us", "\(period)") }
                    if let quota = limits.cpuQuota { try Files.write("\(folder)/cpu.cfs_quota_us", text(quota, "-1")) }
                }
            } else {
                missing.append("cpu")
            }
        }
        if let memory = limits.memory {
            if let hierarchy = hierarchy(of: "memory") {
                let file = hierarchy.isUnified ? "memory.max" : "memory.limit_in_bytes"
                try Files.write(
                    "\(hierarchy.path(of: group))/\(file)", text(memory, hierarchy.isUnified ? "max" : "-1"))
            } else {
                missing.append("memory")
            }
        }
        if let processes = limits.processes {
            if let folder = path(of: group, controller: "pids") {
                try Files.write("\(folder)/pids.max", text(processes, "max"))
            } else {
                missing.append("pids")
            }
        }
        return missing
    }

    /// What a group has used; what the machine does not count is 0.
    public func usage(of group: String) -> CgroupUsage {
        var usage = CgroupUsage()
        func number(_ path: String) -> UInt64 {
            ((try? Files.text(path)) ?? "").split(whereSeparator: \.isWhitespace).first.flatMap { UInt64($0) } ?? 0
        }
        func statistic(_ path: String, _ name: String) -> UInt64 {
            for line in ((try? Files.text(path)) ?? "").split(separator: "\n") {
                let fields = line.split(separator: " ")
                if fields.count == 2, fields[0] == name { return UInt64(fields[1]) ?? 0 }
            }
            return 0
        }
        if mode == .v2, let folder = hierarchies.first?.path(of: group) {
            usage.cpuNanoseconds =
                statistic("\(folder)/cpu.stat", "usage_usec").multipliedReportingOverflow(by: 1000)
                .partialValue
            usage.memoryBytes = number("\(folder)/memory.current")
            let cache = statistic("\(folder)/memory.stat", "inactive_file")
            usage.workingSetBytes = usage.memoryBytes > cache ? usage.memoryBytes - cache : 0
            usage.processes = number("\(folder)/pids.current")
            return usage
        }
        if let folder = path(of: group, controller: "cpuacct") {
            usage.cpuNanoseconds = number("\(folder)/cpuacct.usage")
        }
        if let folder = path(of: group, controller: "memory") {
            usage.memoryBytes = number("\(folder)/memory.usage_in_bytes")
            let cache = statistic("\(folder)/memory.stat", "total_inactive_file")
            usage.workingSetBytes = usage.memoryBytes > cache ? usage.memoryBytes - cache : 0
        }
        if let folder = path(of: group, controller: "pids") { usage.processes = number("\(folder)/pids.current") }
        return usage
    }
}
