// SPDX-License-Identifier: Apache-2.0

import CArchive
import Coordination
import Glibc
import Linux
import Logging
import Synchronization
import Values

extension Runtime {
    /// Makes a container in a sandbox: its file system, its specification, its monitor. It waits to be started.
    public func createContainer(_ spec: ContainerSpec) async throws -> ContainerID {
        guard let sandbox = state.withLock({ $0.sandboxes[spec.sandboxID] }) else {
            throw RuntimeError(.notFound, "there is no sandbox \(spec.sandboxID)")
        }
        guard sandbox.sandbox.state == .ready else {
            throw RuntimeError(.wrongState, "sandbox \(spec.sandboxID) is not ready")
        }
        return try await create(spec, sandbox, isPause: false)
    }

    func create(_ spec: ContainerSpec, _ sandbox: SandboxRecord, isPause: Bool) async throws -> ContainerID {
        let id = Hex.text((0..<32).map { _ in UInt8.random(in: 0 ... .max) })
        let terminationFile = spec.terminationMessagePath.map { _ in paths.container(id) + "/termination-log" }
        let sharesProcesses = sandbox.spec.hostPID || sandbox.pauseContainer != nil || spec.processesOf != nil
        let status = ContainerStatus(
            id: id, name: spec.name, sandboxID: spec.sandboxID, attempt: spec.attempt, state: .created, pid: nil,
            exitCode: nil, signal: nil, oomKilled: false, message: "", createdAt: .now, startedAt: nil, finishedAt: nil,
            image: spec.image.reference, imageID: spec.image.id, logPath: spec.logPath,
            terminationMessageFile: terminationFile, labels: spec.labels, annotations: spec.annotations,
            user: UserIdentity(uid: 0, gid: 0), cgroupPath: "\(sandbox.cgroup)/\(id)")
        let record = ContainerRecord(
            status: status, phase: .creating, conmonPid: nil, conmonStarted: nil, pidStarted: nil,
            stopSignal: spec.image.stopSignal, isHidden: isPause, tty: spec.tty, stdin: spec.stdin,
            sharesProcesses: sharesProcesses, process: .null)
        try Files.makeDirectories(paths.container(id), mode: 0o700)
        state.withLock { state in
            state.containers[id] = record
            state.gates[id] = Gate()
        }
        do {
            try update(id) { _ in }
            try configuration.images.lease(id, layers: spec.image.layerPaths, group: sandbox.cgroup)
            let specification = try await prepare(id, spec, sandbox, terminationFile)
            let (pid, conmonPid) = try await launch(id, spec)
            try update(id) { record in
                record.phase = .created
                record.status.pid = Int(pid)
                record.status.user = specification.identity
                record.pidStarted = ProcessIdentity.startTime(of: pid)
                record.conmonPid = conmonPid
                record.conmonStarted = ProcessIdentity.startTime(of: conmonPid)
                record.process = specification.process(
                    arguments: [], environment: specification.environment, terminal: false)
            }
            watch(id, conmon: conmonPid)
            return id
        } catch {
            do { try await dispose(id) } catch let second {
                log.warning("container \(id): what was made of it cannot be undone yet: \(second)")
            }
            throw error
        }
    }

    /// Mounts the file system and writes the specification.
    private func prepare(
        _ id: ContainerID, _ spec: ContainerSpec, _ sandbox: SandboxRecord, _ terminationFile: String?
    ) async throws -> RuntimeSpecification {
        let rootfs = paths.rootfs(id)
        try Files.makeDirectories(rootfs, mode: 0o755)
        try mountRoot(id, spec.image, onto: rootfs)
        if let file = terminationFile {
            try Files.touch(file, mode: 0o666)
            chmod(file, 0o666)
        }
        let (identity, home) = try UserDatabase(rootfs: rootfs).identity(
            image: spec.image.user, security: spec.security)
        let capabilities = try Capabilities.resolve(spec.security, available: Capabilities.available())
        var specification = RuntimeSpecification(
            spec: spec, sandbox: sandbox.spec, rootfs: rootfs, identity: identity, home: home,
            namespaces: try namespaces(sandbox, processesOf: spec.processesOf), cgroupPath: "\(sandbox.cgroup)/\(id)",
            capabilities: capabilities, seccomp: try seccomp(spec, capabilities),
            shmPath: sandbox.spec.hostIPC ? "/dev/shm" : paths.shm(spec.sandboxID),
            terminationMessageFile: terminationFile,
            oomScoreAdjustment: allowedOOMScore(spec.oomScoreAdjustment))
        specification.devices = try devices(spec)
        try check(specification)
        try Files.replace(
            paths.bundle(id) + "/config.json", with: specification.json.serialized(), durable: false)
        return specification
    }

    private func check(_ specification: RuntimeSpecification) throws {
        guard !specification.arguments.isEmpty else {
            throw RuntimeError(
                .invalid,
                "no command specified: image \"\(specification.spec.image.reference)\" has no entrypoint, so the container needs a command"
            )
        }
        guard specification.workingDirectory.hasPrefix("/") else {
            throw RuntimeError(.invalid, "the working directory \"\(specification.workingDirectory)\" is not absolute")
        }
        for mount in specification.spec.mounts {
            guard mount.destination.hasPrefix("/"), !mount.destination.split(separator: "/").contains("..") else {
                throw RuntimeError(.invalid, "the mount path \"\(mount.destination)\" is not an absolute path")
            }
            if mount.type == "bind", !Files.exists(mount.source) {
                throw RuntimeError(
                    .invalid, "what is to be mounted at \"\(mount.destination)\" is not on the node: \(mount.source)")
            }
        }
    }

    /// Layers below, a folder of the container's own on top.
    private func mountRoot(_ id: ContainerID, _ image: LocalImage, onto rootfs: String) throws {
        for layer in image.layerPaths where Files.kind(layer) != .directory {
            throw RuntimeError(
                .other, "layer \(layer) of image \"\(image.reference)\" is not on disk; pull or load the image again")
        }
        let upper = paths.upper(id)
        let work = paths.container(id) + "/work"
        for folder in [upper, work] { try Files.makeDirectories(folder, mode: 0o755) }
        chmod(upper, 0o755)
        // The kernel takes one page of options: many layers are named by short links.
        var lower = image.layerPaths
        if lower.reduce(0, { $0 + $1.utf8.count + 1 }) > 3000 {
            let links = paths.bundle(id) + "/l"
            try Files.makeDirectories(links, mode: 0o700)
            for (index, layer) in lower.enumerated() {
                let link = "\(links)/\(index)"
                try Files.link(layer, at: link)
                lower[index] = "\(index)"
            }
            let names = lower
            try OwnThread.run {
                // The folder of this thread alone.
                guard catbird_own_directory() == 0 else { throw Errno("unshare", "CLONE_FS") }
                guard chdir(links) == 0 else { throw Errno("chdir", links) }
                try Self.overlay(names, upper, work, rootfs)
            }
            return
        }
        if lower.isEmpty {
            // Overlay wants something below.
            let empty = paths.bundle(id) + "/empty"
            try Files.makeDirectories(empty)
            lower = [empty]
        }
        try Self.overlay(lower, upper, work, rootfs)
    }

    private static func overlay(_ lower: [String], _ upper: String, _ work: String, _ target: String) throws(Errno) {
        do throws(Errno) {
            // The upper folder is thrown away with the container: it need not survive a crash of the machine.
            try Mounts.overlay(lower: lower, upper: upper, work: work, onto: target, options: ["volatile"])
        } catch  where error.code == EINVAL {
            try Mounts.overlay(lower: lower, upper: upper, work: work, onto: target)
        }
    }

    private func namespaces(
        _ sandbox: SandboxRecord, processesOf target: ContainerID?
    ) throws -> [(type: String, path: String?)] {
        let id = sandbox.spec.id
        var result: [(String, String?)] = [("mount", nil)]
        if !sandbox.spec.hostNetwork {
            result.append(("network", paths.namespace(id, .net)))
            result.append(("uts", paths.namespace(id, .uts)))
        }
        if !sandbox.spec.hostIPC { result.append(("ipc", paths.namespace(id, .ipc))) }
        let shared = target ?? sandbox.pauseContainer
        if let shared, let pid = state.withLock({ $0.containers[shared]?.status.pid }) {
            result.append(("pid", "/proc/\(pid)/ns/pid"))
        } else if let target {
            throw RuntimeError(.notFound, "there is no process of container \(target) to share")
        } else if !sandbox.spec.hostPID {
            result.append(("pid", nil))
        }
        if cgroups.mode == .v2 { result.append(("cgroup", nil)) }
        return result
    }

    private func seccomp(_ spec: ContainerSpec, _ capabilities: [String]) throws -> JSON? {
        if spec.security.privileged { return nil }
        switch spec.security.seccomp {
        case .unconfined: return nil
        case .runtimeDefault: return Seccomp.standard(capabilities: capabilities)
        case .localhost(let path):
            do { return try JSON(parsing: Files.read(path)) } catch {
                throw RuntimeError(.invalid, "cannot load seccomp profile \"\(path)\": \(error)")
            }
        }
    }

    private func devices(_ spec: ContainerSpec) throws -> [(path: String, node: DeviceNodes.Node, permissions: String)]
    {
        if spec.security.privileged { return DeviceNodes.all().map { ($0.path, $0.node, "rwm") } }
        return try spec.devices.map { device in
            guard let node = DeviceNodes.node(device.hostPath) else {
                throw RuntimeError(.invalid, "\(device.hostPath) is not a device of the node")
            }
            return (device.containerPath, node, device.permissions)
        }
    }

    /// Without CAP_SYS_RESOURCE the kernel refuses what is lower than this process's own.
    private func allowedOOMScore(_ wanted: Int) -> Int {
        let bounded = min(max(wanted, -1000), 1000)
        if Privileges.has(.sysResource) { return bounded }
        let own = (try? Files.text("/proc/self/oom_score_adj")).flatMap { Int($0.filter { !$0.isWhitespace }) } ?? 0
        return max(bounded, own)
    }
}
