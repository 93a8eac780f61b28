// SPDX-License-Identifier: Apache-2.0

import Coordination
import CArchive
import Glibc
import Linux
import Synchronization
import Values

extension Runtime {
    var crunArguments: [String] { ["--root=\(paths.crunRoot)", "--cgroup-manager=cgroupfs"] }

    func runCrun(_ arguments: [String]) async throws -> ProcessOutput {
        do { return try await ProcessSpawner(crun, crunArguments + arguments).run(limit: 1 << 16) } catch {
            throw RuntimeError(.missingTool, "crun cannot be run: \(error)")
        }
    }

    /// The last line that says something.
    static func words(_ output: ProcessOutput) -> String {
        let lines = (output.errorText + "\n" + output.text).split(separator: "\n").map(String.init)
        return lines.last ?? "\(output.status)"
    }

    /// Starts conmon, which has crun make the container, and returns the pids of the container and of conmon.
    func launch(_ id: ContainerID, _ spec: ContainerSpec) async throws -> (pid: Int32, conmon: Int32) {
        let bundle = paths.bundle(id)
        if let log = spec.logPath { try Self.prepareLog(log) }
        var arguments = [
            "--api-version", "1", "-c", id, "-u", id, "-n", spec.name, "-r", crun, "-b", bundle,
            "-p", bundle + "/pid", "-P", bundle + "/conmon.pid", "-l", spec.logPath.map { "k8s-file:" + $0 } ?? "none",
            "--exit-dir", paths.exits, "--persist-dir", paths.container(id), "--full-attach", "--no-sync-log",
            "--log-level", "error",
        ]
        for argument in crunArguments { arguments += ["--runtime-arg", argument] }
        if spec.stdin {
            arguments.append("-i")
            if !spec.stdinOnce { arguments.append("--leave-stdin-open") }
        }
        if spec.tty { arguments.append("-t") }
        let command = CgroupView.wrap(conmon, arguments)
        let sync = try FileDescriptor.pipe().take()
        let reader = DescriptorReader(owning: sync.read)
        var spawner = ProcessSpawner(command.path, command.arguments)
        spawner.environment["_OCI_SYNCPIPE"] = "3"
        // Where conmon makes the socket for a terminal: the folder that somebody set who started the cluster may not be
        // there within a node, or be too long for a socket's address.
        spawner.environment["TMPDIR"] = nil
        spawner.descriptors[3] = sync.write
        spawner.newSession = true
        spawner.cgroup = conmonCgroup
        spawner.cgroupLayout = cgroups
        let output: ProcessOutput
        do {
            defer { Glibc.close(sync.write) }
            output = try await spawner.run(limit: 1 << 16)
        } catch { throw RuntimeError(.missingTool, "conmon cannot be run: \(error)") }
        var line: [UInt8] = []
        while !line.contains(0x0A), let part = await reader.next() { line += part }
        guard let answer = try? JSON(parsing: Array(line.prefix { $0 != 0x0A })), let pid = answer["data"].int else {
            throw RuntimeError(
                .other,
                "failed to create container \"\(spec.name)\": conmon ended without an answer: \(Self.words(output))")
        }
        guard pid > 0, let number = Int32(exactly: pid) else {
            let message =
                (answer["message"].string ?? "unknown error").split(separator: "\n").last.map(String.init) ?? ""
            throw RuntimeError(
                .cannotStart,
                "failed to create container \"\(spec.name)\": \(message.isEmpty ? "crun failed" : message)")
        }
        guard let text = try? Files.text(bundle + "/conmon.pid"), let monitor = Int32(text.filter { !$0.isWhitespace })
        else {
            throw RuntimeError(.other, "failed to create container \"\(spec.name)\": conmon wrote no pid file")
        }
        return (number, monitor)
    }

    /// Makes the folder of a log, which is the pod's and the container's below the folder of all logs. Conmon opens the
    /// log by its name: a link that a pod with the node's logs has put there goes.
    static func prepareLog(_ path: String) throws {
        let folder = Files.directory(of: path)
        let above = Files.directory(of: Files.directory(of: folder))
        try Files.makeDirectories(above)
        let own = String(folder.dropFirst(above.count))
        let made: FileDescriptor
        do throws(Errno) { made = try Files.makeDirectories(own, beneath: Files.folder(above)) } catch {
            throw RuntimeError(.other, "the folder of the log \(path) cannot be made, or is a link: \(error)")
        }
        var info = stat()
        let name = String(path.dropFirst(folder.count + 1))
        if fstatat(made.rawValue, name, &info, AT_SYMLINK_NOFOLLOW) == 0, info.st_mode & S_IFMT != S_IFREG {
            try Files.removeTree(FileName(name), in: made.rawValue, at: path)
        }
    }

    /// Has the container's log written to a new file: after the old one was renamed.
    public func reopenLog(_ id: ContainerID) async throws {
        let record = try record(id)
        guard record.phase == .running || record.phase == .created else {
            throw RuntimeError(.wrongState, "container \(id) is \(record.state.rawValue): its log has no writer")
        }
        try control(id, "2 0 0\n")
        guard let log = record.status.logPath else { return }
        // Conmon makes the file when it has read the order. The caller may rename it again only then.
        try await waitForFile(log)
    }

    private func waitForFile(_ path: String) async throws {
        let watcher = try Inotify()
        try watcher.add(Files.directory(of: path), [.created, .movedTo, .selfDeleted])
        if Files.exists(path) { return }
        let gate = Gate()
        let events = watcher.events
        let task = Task {
            for await _ in events where Files.exists(path) { gate.open() }
        }
        _ = await gate.wait(seconds: 5)
        task.cancel()
    }

    /// Writes one order into conmon's pipe: "1 ROWS COLUMNS" for the terminal's size, "2 0 0" for the log.
    func control(_ id: ContainerID, _ order: String) throws {
        let file = try FileDescriptor.open(paths.bundle(id) + "/ctl", O_WRONLY | O_NONBLOCK)
        try file.write(order.utf8)
    }
}
