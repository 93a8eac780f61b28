// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// What a cluster needs of the machine before anything is made.
public enum Requirements {
    static let tools: [(program: String, package: String)] = [
        ("crun", "crun"), ("conmon", "conmon"), ("busybox", "busybox-static"),
    ]

    /// - Throws: `LocalClusterError` that names what is missing and the command that mends it.
    public static func check() throws(LocalClusterError) {
        guard Privileges.isRoot else {
            throw LocalClusterError(
                .hostPermission, "catbird start needs root: it makes network namespaces, mounts and cgroups.",
                nextStep: "Run it with sudo: sudo catbird start")
        }
        let missing = tools.filter { HostEnvironment.find($0.program) == nil }
        guard missing.isEmpty else {
            throw LocalClusterError(
                .hostUnsupported, "Not found: \(missing.map(\.program).joined(separator: ", ")).",
                nextStep: "Install with: sudo apt-get install \(missing.map(\.package).joined(separator: " "))")
        }
    }
}
