// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What the processes of a cluster find around them: the same, whoever started it and wherever.
///
/// A file mask, limits, a priority, a working folder and an environment are inherited by everything that is started,
/// down to the containers: a cluster that was started in a shell with a mask of 077 would have volumes that its pods
/// cannot read.
public enum Surroundings {
    /// What of the starter's environment is meant for a cluster: where its folders are, and how the outside is reached.
    private static let passed: Set<String> = [
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    ]

    /// Programs are looked for where the starter looks for them, as far as his shell names folders of the machine.
    static func environment(of starter: [String: String] = HostEnvironment.current) -> [String: String] {
        var result = starter.filter { passed.contains($0.key) || $0.key.hasPrefix("CATBIRD_") }
        let system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        let own = (starter["PATH"] ?? "").split(separator: ":").map(String.init)
            .filter { $0.hasPrefix("/") && !system.contains($0) }
        result["PATH"] = (system + own).joined(separator: ":")
        result["HOME"] = "/root"
        result["LANG"] = "C.UTF-8"
        return result
    }

    /// What a process of a node gets: the node's own paths, and the way out.
    static func environment(ofNode base: [String: String], starter: [String: String] = HostEnvironment.current)
        -> [String: String]
    {
        starter.filter { passed.contains($0.key) }.merging(base) { _, node in node }
    }

    /// The usual file mask: what is to be secret is made so by name.
    public static func useUsualFileMask() { umask(0o022) }

    /// Puts this process, and with it what it starts, where a machine's service stands.
    ///
    /// - Returns: the limits that the starter had lowered for good and that stay so, since only CAP_SYS_RESOURCE may
    ///   raise them again: `RLIMIT_NOFILE 1024`. One process of a cluster says so.
    @discardableResult
    public static func adopt() -> [String] {
        useUsualFileMask()
        // A folder that the starter stood in stays free to be unmounted or removed.
        chdir("/")
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 0)
        return limits.compactMap { resource, soft, hard, name in set(resource, soft, hard).map { "\(name) \($0)" } }
    }

    private static let unlimited = rlim_t.max

    /// As the kernel gives them to its first process, but for open files: of those a node's containers get what other
    /// runtimes give them, whose images are built for it.
    private static let limits: [(__rlimit_resource, rlim_t, rlim_t, String)] = [
        (RLIMIT_CPU, unlimited, unlimited, "RLIMIT_CPU"), (RLIMIT_FSIZE, unlimited, unlimited, "RLIMIT_FSIZE"),
        (RLIMIT_DATA, unlimited, unlimited, "RLIMIT_DATA"), (RLIMIT_STACK, 8 << 20, unlimited, "RLIMIT_STACK"),
        (RLIMIT_CORE, 0, unlimited, "RLIMIT_CORE"), (__RLIMIT_RSS, unlimited, unlimited, "RLIMIT_RSS"),
        (RLIMIT_AS, unlimited, unlimited, "RLIMIT_AS"), (__RLIMIT_NPROC, unlimited, unlimited, "RLIMIT_NPROC"),
        (__RLIMIT_LOCKS, unlimited, unlimited, "RLIMIT_LOCKS"),
        (__RLIMIT_MEMLOCK, 8 << 20, 8 << 20, "RLIMIT_MEMLOCK"),
        (__RLIMIT_MSGQUEUE, 819_200, 819_200, "RLIMIT_MSGQUEUE"), (__RLIMIT_NICE, 0, 0, "RLIMIT_NICE"),
        (__RLIMIT_RTPRIO, 0, 0, "RLIMIT_RTPRIO"), (__RLIMIT_RTTIME, unlimited, unlimited, "RLIMIT_RTTIME"),
        (RLIMIT_NOFILE, 1 << 20, 1 << 20, "RLIMIT_NOFILE"),
    ]

    /// Where the machine does not let go of a lower limit, the limit stays as high as it may be.
    ///
    /// - Returns: the hard limit that is lower than it should be.
    private static func set(_ resource: __rlimit_resource, _ soft: rlim_t, _ hard: rlim_t) -> rlim_t? {
        let kind = __rlimit_resource_t(resource.rawValue)
        var wanted = rlimit(rlim_cur: soft, rlim_max: hard)
        if setrlimit(kind, &wanted) == 0 { return nil }
        var found = rlimit()
        guard getrlimit(kind, &found) == 0 else { return nil }
        found.rlim_cur = min(soft, found.rlim_max)
        setrlimit(kind, &found)
        return found.rlim_max < hard ? found.rlim_max : nil
    }
}
