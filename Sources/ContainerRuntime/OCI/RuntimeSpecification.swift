// SPDX-License-Identifier: Apache-2.0

package import Values

/// Writes the OCI runtime specification's `config.json` of a container. Pure: all that has to be looked up was.
package struct RuntimeSpecification {
    package var spec: ContainerSpec
    package var sandbox: SandboxSpec
    /// Where its root file system is mounted.
    package var rootfs: String
    package var identity: UserIdentity
    package var home: String
    /// Paths of pinned namespaces by OCI type; the host's are left out.
    package var namespaces: [(type: String, path: String?)]
    package var cgroupPath: String
    package var capabilities: [String]
    package var seccomp: JSON?
    /// The sandbox's memory for /dev/shm; nil: the container gets its own.
    package var shmPath: String?
    /// The file for the termination message on the node.
    package var terminationMessageFile: String?
    package var oomScoreAdjustment: Int
    var devices: [(path: String, node: DeviceNodes.Node, permissions: String)] = []

    package init(
        spec: ContainerSpec, sandbox: SandboxSpec, rootfs: String, identity: UserIdentity, home: String,
        namespaces: [(type: String, path: String?)], cgroupPath: String, capabilities: [String], seccomp: JSON?,
        shmPath: String?, terminationMessageFile: String?, oomScoreAdjustment: Int
    ) {
        self.spec = spec
        self.sandbox = sandbox
        self.rootfs = rootfs
        self.identity = identity
        self.home = home
        self.namespaces = namespaces
        self.cgroupPath = cgroupPath
        self.capabilities = capabilities
        self.seccomp = seccomp
        self.shmPath = shmPath
        self.terminationMessageFile = terminationMessageFile
        self.oomScoreAdjustment = oomScoreAdjustment
    }

    static let maskedPaths = [
        "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]
    static let readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

    private var privileged: Bool { spec.security.privileged }

    package var json: JSON {
        var linux: JSON = [
            "cgroupsPath": JSON(cgroupPath), "resources": resources,
            "namespaces": .array(
                namespaces.map { namespace in
                    var json: JSON = ["type": JSON(namespace.type)]
                    if let path = namespace.path { json["path"] = JSON(path) }
                    return json
                }),
        ]
        if let seccomp { linux["seccomp"] = seccomp }
        if !devices.isEmpty { linux["devices"] = .array(devices.map { DeviceNodes.json($0.node, at: $0.path) }) }
        if !privileged, !spec.security.unmaskedProc {
            linux["maskedPaths"] = JSON(Self.maskedPaths)
            linux["readonlyPaths"] = JSON(Self.readonlyPaths)
        }
        if spec.mounts.contains(where: { $0.propagation == .bidirectional }) {
            linux["rootfsPropagation"] = "rshared"
        } else if spec.mounts.contains(where: { $0.propagation == .hostToContainer }) {
            linux["rootfsPropagation"] = "rslave"
        }
        return [
            "ociVersion": "1.0.2", "process": process,
            "root": ["path": JSON(rootfs), "readonly": JSON(spec.security.readOnlyRootFilesystem)],
            "mounts": .array(mounts), "linux": linux, "annotations": JSON(spec.annotations),
        ]
    }

    // MARK: Process

    /// The pod's command and args laid over the image's, by Kubernetes' rules.
    package var arguments: [String] {
        if !spec.command.isEmpty { return spec.command + spec.args }
        return spec.image.entrypoint + (spec.args.isEmpty ? spec.image.command : spec.args)
    }

    /// The image's variables, then the pod's; a name stands once, with its last value.
    package var environment: [String] {
        var order: [String] = []
        var values: [String: String] = [:]
        func set(_ name: String, _ value: String) {
            if values.updateValue(value, forKey: name) == nil { order.append(name) }
        }
        set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        if spec.tty { set("TERM", "xterm") }
        if !sandbox.hostname.isEmpty { set("HOSTNAME", sandbox.hostname) }
        for entry in spec.image.environment {
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            set(String(parts[0]), parts.count == 2 ? String(parts[1]) : "")
        }
        for (name, value) in spec.environment { set(name, value) }
        if values["HOME"] == nil { set("HOME", home.isEmpty ? (identity.uid == 0 ? "/root" : "/") : home) }
        return order.map { "\($0)=\(values[$0] ?? "")" }
    }

    var workingDirectory: String {
        let wanted = spec.workingDirectory ?? spec.image.workingDirectory
        return wanted.isEmpty ? "/" : wanted
    }

    var user: JSON {
        [
            "uid": JSON(identity.uid), "gid": JSON(identity.gid),
            "additionalGids": .array(identity.supplementalGroups.map { JSON($0) }),
        ]
    }

    var process: JSON { process(arguments: arguments, environment: environment, terminal: spec.tty) }

    func process(arguments: [String], environment: [String], terminal: Bool) -> JSON {
        let names = JSON(capabilities)
        return [
            "terminal": JSON(terminal), "user": user, "args": JSON(arguments), "env": JSON(environment),
            "cwd": JSON(workingDirectory), "capabilities": ["bounding": names, "effective": names, "permitted": names],
            "noNewPrivileges": JSON(spec.security.noNewPrivileges), "oomScoreAdj": JSON(oomScoreAdjustment),
        ]
    }

    // MARK: Resources

    private var resources: JSON {
        var resources: JSON = [:]
        if privileged {
            resources["devices"] = [["allow": true, "access": "rwm"]]
        } else {
            resources["devices"] = .array(
                DeviceNodes.standardRules
                    + devices.map { DeviceNodes.rule($0.node.type, $0.node.major, $0.node.minor, $0.permissions) })
        }
        let wanted = spec.resources
        var cpu: JSON = [:]
        if let shares = wanted.cpuShares { cpu["shares"] = JSON(shares) }
        if let quota = wanted.cpuQuota { cpu["quota"] = JSON(quota) }
        if let period = wanted.cpuPeriod { cpu["period"] = JSON(period) }
        if cpu != [:] { resources["cpu"] = cpu }
        if let limit = wanted.memoryLimitBytes { resources["memory"] = ["limit": JSON(limit)] }
        if let limit = wanted.pidsLimit { resources["pids"] = ["limit": JSON(limit)] }
        return resources
    }

    // MARK: Mounts

    private func mount(_ type: String, _ destination: String, _ source: String, _ options: [String]) -> JSON {
        ["destination": JSON(destination), "type": JSON(type), "source": JSON(source), "options": JSON(options)]
    }

    private var mounts: [JSON] {
        let access = privileged ? "rw" : "ro"
        var result = [
            mount("proc", "/proc", "proc", ["nosuid", "noexec", "nodev"]),
            mount("tmpfs", "/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount(
                "devpts", "/dev/pts", "devpts",
                ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("mqueue", "/dev/mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
            mount("sysfs", "/sys", "sysfs", ["nosuid", "noexec", "nodev", access]),
            mount("cgroup", "/sys/fs/cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", access]),
        ]
        if let shmPath {
            result.append(mount("bind", "/dev/shm", shmPath, ["rbind", "rw", "nosuid", "nodev", "noexec"]))
        } else {
            result.append(mount("tmpfs", "/dev/shm", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]))
        }
        if let file = terminationMessageFile, let path = spec.terminationMessagePath {
            result.append(mount("bind", path, file, ["rbind", "rw", "rprivate"]))
        }
        // The outermost first; of equal depth as given.
        func depth(_ path: String) -> Int { path.split(separator: "/").count }
        let ordered = spec.mounts.enumerated().sorted {
            (depth($0.element.destination), $0.offset) < (depth($1.element.destination), $1.offset)
        }
        for (_, wanted) in ordered {
            result.removeAll { $0["destination"].string == wanted.destination }
            var options = wanted.type == "bind" ? ["rbind", wanted.propagation.rawValue] : []
            options.append(wanted.readOnly ? "ro" : "rw")
            for option in wanted.options where !options.contains(option) { options.append(option) }
            result.append(mount(wanted.type, wanted.destination, wanted.source, options))
        }
        return result
    }
}
