// SPDX-License-Identifier: Apache-2.0

import CArchive
import Coordination
import Glibc
import Linux
import Synchronization
import Values

extension Runtime {
    /// Starts a command in a running container.
    public func exec(
        _ id: ContainerID, command: [String], tty: Bool = false, stdin: Bool = false,
        environment: [(name: String, value: String)] = []
    ) async throws -> ExecSession {
        let record = try record(id)
        guard record.phase == .running else {
            throw RuntimeError(
                .wrongState,
                "container \"\(record.status.name)\" (\(id.prefix(12))) is \(record.state.rawValue): commands can be run in a running one only"
            )
        }
        guard !command.isEmpty else { throw RuntimeError(.invalid, "no command was given to run") }
        let folder = try execFolder(id)
        do {
            var process = record.process
            process["args"] = JSON(command)
            process["terminal"] = JSON(tty)
            var variables = process["env"].array ?? []
            if tty, !variables.contains(where: { $0.string?.hasPrefix("TERM=") == true }) {
                variables.append("TERM=xterm")
            }
            for (name, value) in environment {
                variables.removeAll { $0.string?.hasPrefix(name + "=") == true }
                variables.append(.string("\(name)=\(value)"))
            }
            process["env"] = .array(variables)
            try Files.replace(folder + "/process.json", with: process.serialized(), durable: false)
            return tty ? try await execTerminal(id, folder) : try execPipes(id, folder, stdin: stdin)
        } catch {
            try? Files.removeTree(folder)
            throw error
        }
    }

    /// For what is only wanted while one command runs.
    private func execFolder(_ id: ContainerID) throws -> String {
        let number = state.withLock { state in
            state.nextExec += 1
            return state.nextExec
        }
        let folder = "\(paths.bundle(id))/e\(getpid())-\(number)"
        try Files.makeDirectories(folder, mode: 0o700)
        return folder
    }

    private func execSpawner(_ id: ContainerID, _ folder: String, _ more: [String]) -> ProcessSpawner {
        var arguments = crunArguments
        arguments.append("--log=\(folder)/log")
        arguments += ["exec", "--process=\(folder)/process.json", "--pid-file=\(folder)/pid"] + more + [id]
        var spawner = ProcessSpawner(crun, arguments)
        spawner.newSession = true
        return spawner
    }

    private func execPipes(_ id: ContainerID, _ folder: String, stdin: Bool) throws -> ExecSession {
        let output = try FileDescriptor.pipe().take()
        let errors = try FileDescriptor.pipe().take()
        let input = stdin ? try FileDescriptor.pipe().take() : nil
        let outputReader = DescriptorReader(owning: output.read)
        let errorReader = DescriptorReader(owning: errors.read)
        let writer = input.map { DescriptorWriter(owning: $0.write) }
        var spawner = execSpawner(id, folder, [])
        spawner.descriptors[1] = output.write
        spawner.descriptors[2] = errors.write
        if let input { spawner.descriptors[0] = input.read }
        defer {
            close(output.write)
            close(errors.write)
            if let input { close(input.read) }
        }
        let process = try spawner.spawn()
        let outcome = outcome(of: process, folder)
        return session(
            process, folder, outcome, stdout: outputReader.stream(),
            stderr: CommandErrors(errorReader, folder: folder, outcome: outcome).stream(), writer: writer,
            resize: { _, _ in })
    }

    private func execTerminal(_ id: ContainerID, _ folder: String) async throws -> ExecSession {
        // Crun hands the terminal over a socket. Its path is a short one: it goes by a descriptor of the folder.
        let socket = try UnixSocket.listen(folder + "/s")
        let process = try execSpawner(id, folder, ["--console-socket=\(folder)/s"]).spawn()
        let listening = socket.rawValue
        let ended = Task {
            _ = await process.wait()
            // Whoever waits for a connection that will not come is woken.
            shutdown(listening, Int32(SHUT_RDWR))
        }
        defer { ended.cancel() }
        let terminal: Int32? = try? await OwnThread.run(awaiting: {
            let connection = try UnixSocket(owning: fcntl(listening, F_DUPFD_CLOEXEC, 3)).accept()
            let (_, descriptors) = try connection.receive(upTo: 4096)
            for extra in descriptors.dropFirst() { close(extra) }
            guard let first = descriptors.first else {
                throw Errno(code: EPROTO, call: "recvmsg", detail: "no terminal")
            }
            return first
        })
        _ = consume socket
        guard let terminal else {
            let status = await process.wait()
            throw startFailure(folder, status)
        }
        let copy = fcntl(terminal, F_DUPFD_CLOEXEC, 3)
        let reader = DescriptorReader(owning: terminal)
        let writer = DescriptorWriter(owning: copy)
        return session(
            process, folder, outcome(of: process, folder), stdout: reader.stream(), stderr: AsyncStream { $0.finish() },
            writer: writer,
            resize: { columns, rows in
                guard let fd = writer.duplicate() else { return }
                _ = catbird_set_terminal_size(fd, UInt16(clamping: rows), UInt16(clamping: columns))
                close(fd)
            }, endOfInput: [4])
    }

    /// Why crun could not start the command, from its log.
    private func startFailure(_ folder: String, _ status: ExitStatus) -> RuntimeError {
        let text = (try? Files.text(folder + "/log")) ?? ""
        let lines = text.split(separator: "\n").map(String.init)
        return RuntimeError(.cannotStart, "exec failed: \(lines.last ?? "\(status)")")
    }

    /// How the command ends, or why it never began; the folder goes then.
    private func outcome(of process: ChildProcess, _ folder: String) -> Task<Result<Int, RuntimeError>, Never> {
        Task {
            let status = await process.wait()
            defer { try? Files.removeTree(folder) }
            // Crun writes the pid once the command runs, and before that only what kept it from running.
            if !Files.exists(folder + "/pid"), let log = try? Files.text(folder + "/log"), !log.isEmpty {
                return .failure(self.startFailure(folder, status))
            }
            return .success(Int(status.code))
        }
    }

    private func session(
        _ process: ChildProcess, _ folder: String, _ outcome: Task<Result<Int, RuntimeError>, Never>,
        stdout: AsyncStream<[UInt8]>, stderr: AsyncStream<[UInt8]>, writer: DescriptorWriter?,
        resize: @escaping @Sendable (Int, Int) -> Void, endOfInput: [UInt8]? = nil
    ) -> ExecSession {
        ExecSession(
            stdout: stdout, stderr: stderr,
            write: { bytes in try await writer?.write(bytes) },
            closeInput: {
                // A terminal has one descriptor for both ways: its end of input is a character.
                if let endOfInput { try? await writer?.write(endOfInput) } else { writer?.close() }
            },
            resize: { columns, rows in resize(columns, rows) },
            exitCode: { try await outcome.value.get() },
            cancel: {
                if process.exitStatus == nil, let text = try? Files.text(folder + "/pid"),
                    let pid = Int32(text.filter { !$0.isWhitespace }), pid > 1,
                    let command = try? ChildProcess.adopt(pid)
                {
                    try? command.signal(SIGKILL)
                }
                try? process.signal(SIGTERM)
                writer?.close()
            })
    }

    /// Runs a command to its end and returns its output, up to `limit` bytes. For probes and hooks.
    ///
    /// After `timeoutSeconds` the command is killed and an error of kind `other` thrown.
    public func execSync(
        _ id: ContainerID, command: [String], timeoutSeconds: Int? = nil, limit: Int = 16384
    ) async throws -> (exitCode: Int, output: [UInt8]) {
        let session = try await exec(id, command: command)
        let output = Mutex<[UInt8]>([])
        let take: @Sendable (AsyncStream<[UInt8]>) async -> Void = { stream in
            for await bytes in stream {
                output.withLock { $0 += bytes.prefix(max(0, limit - $0.count)) }
            }
        }
        let finished = try await withThrowingTaskGroup(of: Int?.self) { group -> Int? in
            group.addTask {
                async let errors: Void = take(session.stderr)
                await take(session.stdout)
                await errors
                return try await session.exitCode()
            }
            if let timeoutSeconds {
                group.addTask {
                    try await Task.sleep(for: .seconds(timeoutSeconds))
                    return nil
                }
            }
            let first = try await group.next() ?? nil
            if first == nil { await session.cancel() }
            group.cancelAll()
            return first
        }
        guard let code = finished else {
            throw RuntimeError(
                .other, "command \"\(command.joined(separator: " "))\" timed out after \(timeoutSeconds ?? 0) s")
        }
        return (code, output.withLock(\.self))
    }

    // MARK: Attach

    /// Joins a container's standard streams, by its monitor's socket.
    public func attach(_ id: ContainerID) async throws -> ExecSession {
        let record = try record(id)
        guard record.phase == .running || record.phase == .created, let gate = state.withLock({ $0.gates[id] }) else {
            throw RuntimeError(
                .wrongState, "container \"\(record.status.name)\" is \(record.state.rawValue): nothing to attach to")
        }
        let fd = try Self.connect(paths.bundle(id) + "/attach")
        // The monitor lives a little longer than the container, and has no output left to give: who attaches is told
        // so, and reads the log (kubectl run does it by itself).
        if let pid = record.status.pid.flatMap({ Int32(exactly: $0) }) {
            let process = ProcessSummary(pid: pid)
            if process == nil || process?.state == "Z" || ProcessIdentity.startTime(of: pid) != record.pidStarted {
                close(fd)
                throw RuntimeError(.wrongState, "container \"\(record.status.name)\" has ended: nothing to attach to")
            }
        }
        let writer = DescriptorWriter(owning: fcntl(fd, F_DUPFD_CLOEXEC, 3))
        let streams = AttachedStreams(DescriptorReader(owning: fd))
        let end: @Sendable () -> Void = {
            streams.cancel()
            writer.close()
        }
        return ExecSession(
            stdout: streams.stream(2), stderr: streams.stream(3),
            // Conmon takes at most 32 KiB a message.
            write: { bytes in try await writer.write(bytes, pieces: 8192) },
            closeInput: {
                guard let copy = writer.duplicate() else { return }
                shutdown(copy, Int32(SHUT_WR))
                close(copy)
            },
            resize: { columns, rows in
                if record.tty { try? self.control(id, "1 \(rows) \(columns)\n") }
            },
            exitCode: {
                await gate.wait()
                try Task.checkCancellation()
                return self.container(id)?.exitCode ?? 255
            }, cancel: { end() })
    }

    /// A socket of messages (SOCK_SEQPACKET), connected.
    private static func connect(_ path: String) throws -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw Errno(code: ENAMETOOLONG, call: "connect", detail: path)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let fd = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | 0o2000000, 0)
        guard fd >= 0 else { throw Errno("socket") }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            let error = Errno("connect", path)
            close(fd)
            throw error
        }
        return fd
    }
}
