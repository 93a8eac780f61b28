// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeObjects
import Values

/// What the machine is and has, as a Node reports it.
package struct Machine: Sendable {
    package let capacity: [String: String]
    package let hostname: String
    package let kernelVersion: String
    package let architecture: String
    package let machineID: String
    package let bootID: String
    package let osImage: String

    /// Catbird reserves nothing: what there is can be used.
    package var allocatable: [String: String] { capacity }
    package var processors: Int { capacity["cpu"].flatMap { Quantity($0)?.value }.map { Int(clamping: $0) } ?? 0 }
    package var memoryBytes: Int64 { capacity["memory"].flatMap { Quantity($0)?.value } ?? 0 }

    package init(overrides: [String: String], maxPods: Int) {
        var capacity = [
            "cpu": "\(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1))",
            "memory": "\(Self.memoryKibibytes)Ki",
            "ephemeral-storage": "\(Self.storageKibibytes)Ki",
            "hugepages-1Gi": "0", "hugepages-2Mi": "0", "pods": "\(maxPods)",
        ]
        for (name, amount) in overrides { capacity[name] = amount }
        self.capacity = capacity
        hostname = Self.line("/proc/sys/kernel/hostname") ?? "localhost"
        kernelVersion = Self.line("/proc/sys/kernel/osrelease") ?? ""
        #if arch(x86_64)
        architecture = "amd64"
        #elseif arch(arm64)
        architecture = "arm64"
        #else
        architecture = "unknown"
        #endif
        machineID = Self.line("/etc/machine-id") ?? "unknown"
        bootID = Self.line("/proc/sys/kernel/random/boot_id") ?? "unknown"
        let release = NodeFiles.text("/etc/os-release") ?? ""
        osImage =
            release.split(whereSeparator: \.isNewline).first { $0.hasPrefix("PRETTY_NAME=") }
            .map { String($0.dropFirst(12)).filter { $0 != "\"" } } ?? "Linux"
    }

    private static func line(_ path: String) -> String? {
        NodeFiles.text(path)?.split(whereSeparator: \.isNewline).first.map(String.init)
    }

    private static var memoryKibibytes: Int {
        let line = NodeFiles.text("/proc/meminfo")?.split(whereSeparator: \.isNewline).first {
            $0.hasPrefix("MemTotal:")
        }
        return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    }

    private static var storageKibibytes: Int {
        var info = statvfs()
        guard statvfs("/", &info) == 0 else { return 0 }
        return Int(info.f_blocks) * Int(info.f_frsize) / 1024
    }
}
