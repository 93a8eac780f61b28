// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// What this process may do.
public enum Privileges {
    public enum Capability: Int32, Sendable, CaseIterable {
        case netAdmin = 12
        case netRaw = 13
        case sysModule = 16
        case sysPtrace = 19
        case sysAdmin = 21
        case sysResource = 24
        case mknod = 27
    }

    public static var isRoot: Bool { geteuid() == 0 }

    public static func has(_ capability: Capability) -> Bool { catbird_has_capability(capability.rawValue) == 1 }

    /// Those of `wanted` that are missing.
    public static func missing(_ wanted: [Capability]) -> [Capability] { wanted.filter { !has($0) } }
}
