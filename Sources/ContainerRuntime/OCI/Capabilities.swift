// SPDX-License-Identifier: Apache-2.0

import Linux

/// Capabilities by name, and what a container gets of them.
package enum Capabilities {
    /// In the order of the kernel's numbers.
    package static let all = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
        "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
        "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
        "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
        "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
        "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
    ]

    /// What containerd and docker give by default.
    package static let standard = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
        "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ]

    /// What this process may give away.
    static func available() -> Set<String> {
        guard let text = try? Files.text("/proc/self/status"),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("CapBnd:") }),
            let mask = UInt64(line.dropFirst(7).filter { !$0.isWhitespace }, radix: 16)
        else { return Set(all) }
        return Set(all.enumerated().filter { mask >> UInt64($0.offset) & 1 == 1 }.map(\.element))
    }

    private static func name(_ text: String) throws(RuntimeError) -> String {
        let upper = text.uppercased()
        let name = upper.hasPrefix("CAP_") ? upper : "CAP_" + upper
        guard all.contains(name) else {
            throw RuntimeError(
                .invalid,
                "securityContext.capabilities: there is no capability \"\(text)\"; known are \(all.joined(separator: ", "))"
            )
        }
        return name
    }

    /// The set for a container, in the kernel's order. ALL is applied before single names, as containerd does.
    package static func resolve(_ security: ContainerSecurity, available: Set<String>) throws(RuntimeError) -> [String]
    {
        if security.privileged { return all.filter(available.contains) }
        var result = Set(standard)
        func isAll(_ text: String) -> Bool { text.uppercased() == "ALL" }
        if security.addCapabilities.contains(where: isAll) { result = available }
        if security.dropCapabilities.contains(where: isAll) { result = [] }
        for text in security.addCapabilities where !isAll(text) {
            let name = try name(text)
            guard available.contains(name) else {
                throw RuntimeError(
                    .invalid,
                    "securityContext.capabilities.add: \(name) cannot be given: this machine does not let Catbird have it"
                )
            }
            result.insert(name)
        }
        for text in security.dropCapabilities where !isAll(text) { result.remove(try name(text)) }
        return all.filter { result.contains($0) && available.contains($0) }
    }
}
