// SPDX-License-Identifier: Apache-2.0

import Coordination
import Glibc
import Linux
import Synchronization
import Values

extension Runtime {
    public func startContainer(_ id: ContainerID) async throws {
        let record = try record(id)
        guard record.phase == .created else {
            throw RuntimeError(
                .wrongState, "container \(id) is \(record.state.rawValue): only a created one can be started")
        }
        let output = try await runCrun(["start", id])
        guard output.status.isSuccess else {
            throw RuntimeError(.cannotStart, "failed to start container \"\(id)\": \(Self.words(output))")
        }
        try update(id) { record in
            // It may have ended meanwhile, and its end be noted.
            if record.phase == .created { record.phase = .running }
            record.status.startedAt = .now
        }
    }

    /// Sends the stop signal, waits for `timeoutSeconds`, then kills. Returns when the container ended.
    public func stopContainer(_ id: ContainerID, timeoutSeconds: Int = 30) async throws {
        guard let record = state.withLock({ $0.containers[id] }), let gate = state.withLock({ $0.gates[id] }) else {
            return
        }
        guard record.phase == .created || record.phase == .running else { return }
        if record.phase == .running, timeoutSeconds > 0 {
            try signal(record, Signals.number(record.stopSignal) ?? SIGTERM)
            if await gate.wait(seconds: Double(timeoutSeconds)) { return }
            try Task.checkCancellation()
        }
        try await kill(record, gate)
    }

    @inline(never)
    private func kill(_ record: ContainerRecord, _ gate: Gate) async throws {
        try signal(record, SIGKILL)
        if record.sharesProcesses { try await cgroups.killAll(in: record.status.cgroupPath) }
        // Its monitor tells; if that is gone too, the watch on it does.
        await gate.wait()
        try Task.checkCancellation()
    }

    @inline(never)
    private func signal(_ record: ContainerRecord, _ number: Int32) throws {
        guard let pid = record.status.pid.flatMap({ Int32(exactly: $0) }),
            ProcessIdentity.startTime(of: pid) == record.pidStarted
        else { return }
        let process: ChildProcess
        do { process = try ChildProcess.adopt(pid) } catch {
            if error.code == ESRCH { return }
            throw error
        }
        // The number may have passed to another process in between.
        guard ProcessIdentity.startTime(of: pid) == record.pidStarted else { return }
        try process.signal(number)
    }

    /// Removes a container, killing it if it runs. Its log stays. Does nothing when there is no such container.
    public func removeContainer(_ id: ContainerID) async throws { try await dispose(id) }

    /// Ends and removes whatever there is of a container, in any state of making. May be repeated; who comes while it is
    /// being done waits for that.
    func dispose(_ id: ContainerID) async throws {
        let task = state.withLock { state -> Task<Void, any Error>? in
            if let running = state.disposals[id] { return running }
            guard let record = state.containers[id] else { return nil }
            let task = Task {
                defer { _ = self.state.withLock { $0.disposals.removeValue(forKey: id) } }
                try await self.halt(record)
                try await self.forget(record)
                try self.discard(id)
            }
            state.disposals[id] = task
            return task
        }
        try await task?.value
    }

    // In steps that are not inlined: Swift 6.3.1's optimizer crashes when it splits them as one function.

    @inline(never)
    private func halt(_ record: ContainerRecord) async throws {
        let id = record.status.id
        if record.phase == .created || record.phase == .running, let gate = state.withLock({ $0.gates[id] }) {
            try await kill(record, gate)
        }
        _ = try update(id) { $0.phase = .removing }
        if record.phase == .creating || record.phase == .removing { try await killMonitor(id) }
    }

    @inline(never)
    private func forget(_ record: ContainerRecord) async throws {
        let id = record.status.id
        if Files.exists("\(paths.crunRoot)/\(id)") { _ = try await runCrun(["delete", "--force", id]) }
        try await cgroups.destroy(record.status.cgroupPath)
    }

    /// Removes the files of a container that has no process any more.
    @inline(never)
    private func discard(_ id: ContainerID) throws {
        try Mounts.unmount(paths.rootfs(id))
        try Files.removeTree(paths.bundle(id))
        try Files.removeTree("\(paths.crunRoot)/\(id)")
        // A monitor that was killed while it wrote leaves a file whose name begins the same.
        for entry in try Files.list(paths.exits) where entry.name.hasPrefix(id) {
            unlink("\(paths.exits)/\(entry.name)")
        }
        configuration.images.endLease(id)
        try Files.removeTree(paths.container(id))
        state.withLock { state in
            state.containers[id] = nil
            state.gates.removeValue(forKey: id)?.open()
        }
    }

    /// Of a container whose making was interrupted only the monitor's own file tells of it.
    @inline(never)
    private func killMonitor(_ id: ContainerID) async throws {
        guard let process = monitor(of: id) else { return }
        // The monitor first: it would write down how the container ended.
        try end(process)
        _ = await process.wait()
    }

    @inline(never)
    private func end(_ process: ChildProcess) throws { try process.signal(SIGKILL) }

    @inline(never)
    private func monitor(of id: ContainerID) -> ChildProcess? {
        guard let text = try? Files.text(paths.bundle(id) + "/conmon.pid"),
            let pid = Int32(text.filter { !$0.isWhitespace }),
            let command = try? Files.read("/proc/\(pid)/cmdline"),
            String(decoding: command, as: UTF8.self).contains(id)
        else { return nil }
        return try? ChildProcess.adopt(pid)
    }
}
