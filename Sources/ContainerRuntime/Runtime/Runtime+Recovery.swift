// SPDX-License-Identifier: Apache-2.0

import CArchive
import Coordination
import Glibc
import Linux
import Logging
import Synchronization
import Values

extension Runtime {
    /// Takes over what an earlier instance left. Half-made containers are thrown away; half-made sandboxes are shown as
    /// not ready, for their addresses have to be given back by a plugin.
    func recover() {
        for entry in (try? Files.list(paths.sandboxRecords)) ?? [] where entry.name.hasSuffix(".json") {
            let path = "\(paths.sandboxRecords)/\(entry.name)"
            guard var record = (try? Files.read(path)).flatMap({ try? JSON(parsing: $0) }).flatMap(SandboxRecord.init)
            else {
                log.warning("\(path) cannot be read; its sandbox is forgotten")
                unlink(path)
                continue
            }
            // The node was started anew: the record is there, what it describes is not.
            if record.phase == .ready, !namespaces(of: record.spec).allSatisfy({ Namespaces.isPinned($0) }) {
                record.phase = .removing
            }
            state.withLock { $0.sandboxes[record.spec.id] = record }
        }
        var halfMade: [ContainerRecord] = []
        for entry in (try? Files.list(paths.containers)) ?? [] where entry.kind == .directory {
            let folder = "\(paths.containers)/\(entry.name)"
            guard
                let record = (try? Files.read(folder + "/container.json")).flatMap({ try? JSON(parsing: $0) })
                    .flatMap(ContainerRecord.init)
            else {
                // The folder is made before the record: nothing was started yet.
                try? Files.removeTree(folder)
                continue
            }
            let id = record.status.id
            state.withLock { state in
                state.containers[id] = record
                state.gates[id] = Gate()
            }
            switch record.phase {
            case .creating, .removing: halfMade.append(record)
            case .exited: state.withLock { $0.gates[id] }?.open()
            case .created, .running: resume(record)
            }
        }
        for record in halfMade {
            // Not structured: what a killed runtime left is nobody's, and nobody is to wait for it at the start.
            Task { [weak self] in
                do { try await self?.dispose(record.status.id) } catch {
                    self?.log.warning("container \(record.status.id): what is left of it cannot be removed: \(error)")
                }
            }
        }
    }

    private func namespaces(of spec: SandboxSpec) -> [String] {
        let own: [NamespaceKind] = (spec.hostNetwork ? [] : [.net, .uts]) + (spec.hostIPC ? [] : [.ipc])
        return own.map { paths.namespace(spec.id, $0) }
    }

    /// Watches a container that was alive when the earlier instance ended.
    private func resume(_ record: ContainerRecord) {
        let id = record.status.id
        if Files.exists(paths.exit(id)) { return containerEnded(id) }
        guard let pid = record.conmonPid, ProcessIdentity.startTime(of: pid) == record.conmonStarted else {
            return containerLost(id)
        }
        if record.phase == .created, !Files.exists("\(paths.crunRoot)/\(id)/exec.fifo") {
            // It was started, and the instance was killed before it could write so.
            _ = try? update(id) { record in
                record.phase = .running
                record.status.startedAt = .now
            }
        }
        watch(id, conmon: pid)
    }

    /// Learns of the container's end even if its monitor is killed.
    func watch(_ id: ContainerID, conmon pid: Int32) {
        guard let process = try? ChildProcess.adopt(pid) else { return containerEnded(id) }
        Task { [weak self] in
            _ = await process.wait()
            guard let self else { return }
            if Files.exists(self.paths.exit(id)) { self.containerEnded(id) } else { self.containerLost(id) }
        }
    }

    func lookForEnded() {
        for entry in (try? Files.list(paths.exits)) ?? [] { containerEnded(entry.name) }
    }

    /// Conmon wrote how the container ended.
    func containerEnded(_ id: ContainerID) {
        guard let text = try? Files.text(paths.exit(id)), let code = Int(text.filter { !$0.isWhitespace }) else {
            return
        }
        var info = stat()
        let finished =
            stat(paths.exit(id), &info) == 0
            ? Timestamp(seconds: Int64(info.st_mtim.tv_sec), nanoseconds: Int32(info.st_mtim.tv_nsec)) : .now
        let oom = Files.exists(paths.container(id) + "/oom") || Files.exists(paths.bundle(id) + "/oom")
        finish(id, code: code, finished: finished, oomKilled: oom, message: "")
    }

    /// The monitor is gone and wrote nothing, or the machine was started anew.
    private func containerLost(_ id: ContainerID) {
        guard let record = state.withLock({ $0.containers[id] }), record.phase != .exited, record.phase != .removing
        else {
            return
        }
        // Not structured: nobody asked; the container's end is told as an event.
        Task { [weak self] in
            guard let self else { return }
            var outcome = "the container was killed, its exit code is unknown"
            do { try await self.cgroups.killAll(in: record.status.cgroupPath) } catch {
                outcome = "its processes could not all be ended (\(error)), its exit code is unknown"
                self.log.warning("container \(id): its processes could not all be ended: \(error)")
            }
            self.finish(
                id, code: 137, finished: .now, oomKilled: false,
                message: "its monitor (conmon) ended before it: \(outcome)")
        }
    }

    private func finish(_ id: ContainerID, code: Int, finished: Timestamp, oomKilled: Bool, message: String) {
        var isNew = false
        let record: ContainerRecord?
        do {
            record = try update(id) { record in
                guard record.phase == .created || record.phase == .running else { return }
                isNew = true
                record.phase = .exited
                record.status.exitCode = code
                record.status.finishedAt = finished
                record.status.oomKilled = oomKilled
                record.status.message = message
            }
        } catch {
            log.error("container \(id) ended with \(code), which cannot be written down: \(error)")
            return
        }
        guard isNew, let record else { return }
        if record.sharesProcesses {
            // Without a process namespace of its own nobody else ends what it started.
            Task { [cgroups, log] in
                do { try await cgroups.killAll(in: record.status.cgroupPath) } catch {
                    log.warning("container \(id): what it started could not all be ended: \(error)")
                }
            }
        }
        state.withLock { $0.gates[id] }?.open()
        if !record.isHidden { publish(.exited(id)) }
    }
}
