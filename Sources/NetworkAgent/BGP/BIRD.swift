// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Logging
import NetworkModel

/// One BIRD process in the node's network namespace, with its configuration and its control socket in a folder.
///
/// It ends with the agent; its routes stay in the kernel, and peers keep theirs (graceful restart) until the next agent's
/// BIRD is there.
actor BIRD {
    struct Failure: Error, CustomStringConvertible { let description: String }

    /// Debian's place (package bird2).
    static let usualProgram = "/usr/sbin/bird"

    private let program: String
    private let folder: String
    private let namespace: NamespaceRef?
    private let logger: Logger
    /// Called when the process ended without being told to.
    private let onDeath: @Sendable () -> Void
    private var process: ChildProcess?
    private var running: String?

    init(
        program: String, folder: String, namespace: NamespaceRef?, logger: Logger,
        onDeath: @escaping @Sendable () -> Void
    ) {
        self.program = program
        self.folder = folder
        self.namespace = namespace
        self.logger = logger
        self.onDeath = onDeath
    }

    private var configurationPath: String { folder + "/bird.cfg" }
    private var socketPath: String { folder + "/bird.ctl" }
    var isRunning: Bool { process != nil }

    /// Has BIRD work by this configuration; starts it if it does not run. A configuration that BIRD does not accept
    /// changes nothing.
    func apply(_ text: String) async throws {
        guard text != running || process == nil else { return }
        try Files.makeDirectories(folder)
        let candidate = configurationPath + ".new"
        // It may hold passwords.
        try Files.replace(candidate, with: Array(text.utf8), mode: 0o600, durable: false)
        let check = try await ProcessSpawner(program, ["-p", "-c", candidate]).run(limit: 1 << 16)
        guard check.status.isSuccess else {
            throw Failure(description: "\(program) does not accept \(candidate): \(check.text)\(check.errorText)")
        }
        guard rename(candidate, configurationPath) == 0 else { throw Errno("rename", configurationPath) }
        if process == nil {
            try start()
        } else {
            let answer = try await ask("configure")
            // 0003 done, 0004 in progress, 0018 and 0019 about a timed one.
            guard answer.split(separator: "\n").contains(where: { $0.hasPrefix("000") }) else {
                throw Failure(description: "BIRD does not take its configuration: \(answer)")
            }
        }
        running = text
    }

    /// Ends BIRD after its routes have left the kernel: `silent` is a configuration without sessions.
    func stop(silent: String) async throws {
        guard let process else { return }
        try await apply(silent)
        self.process = nil
        running = nil
        _ = try await ask("down")
        _ = await process.wait()
        logger.notice("BIRD has ended: nothing asks for BGP any more")
    }

    private func start() throws {
        var arguments = ["-f", "-c", configurationPath, "-s", socketPath, "-P", folder + "/bird.pid"]
        // What an earlier BIRD left in the kernel is kept until its peers are back.
        let netlink = try namespace.map { try NetlinkSocket(in: $0) } ?? NetlinkSocket()
        if try !netlink.routes(protocol: .bird).isEmpty { arguments.append("-R") }
        var spawner = ProcessSpawner(program, arguments)
        spawner.namespaces.net = namespace
        spawner.parentDeathSignal = SIGKILL
        spawner.descriptors = [1: 1, 2: 2]
        let started = try spawner.spawn()
        process = started
        logger.notice("BIRD has started as process \(started.pid), by \(configurationPath)")
        // Not structured: it ends with the process, which dies with this one.
        Task {
            let status = await started.wait()
            died(started, status)
        }
    }

    private func died(_ ended: ChildProcess, _ status: ExitStatus) {
        guard process === ended else { return }
        process = nil
        logger.error("BIRD ended (\(status)) and is started again; its routes stay in the kernel meanwhile")
        onDeath()
    }

    private func ask(_ command: String) async throws -> String {
        try await OwnThread.run(awaiting: { [socketPath] in try BIRDControl.ask(socketPath, command) })
    }
}
