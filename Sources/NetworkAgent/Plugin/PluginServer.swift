// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import Linux
import Logging
import Values

/// Listens for the plugin: one request a connection, each with the descriptor of its network namespace.
struct PluginServer: Sendable {
    let path: String
    let logger: Logger
    /// Answers a request; the descriptor stays the server's.
    let answer: @Sendable (CNIParameters, NetworkConfiguration, _ netns: Int32?) async throws -> JSON

    /// Serves until cancelled; `onListening` is called once plugins can connect.
    func run(onListening: @escaping @Sendable () async throws -> Void) async throws {
        try Files.makeDirectories(Files.directory(of: path))
        // It gets its name when plugins can connect: whoever watches for the name may try at once.
        let listener = try UnixSocket.listen(path + ".new").take()
        guard rename(path + ".new", path) == 0 else {
            let error = Errno("rename", path)
            close(listener)
            throw error
        }
        // After the group, and so after the thread that accepts has ended.
        defer {
            close(listener)
            unlink(path)
        }
        // Connections are accepted on a thread of its own, which ends when the listener is shut down.
        let (connections, continuation) = AsyncStream<Int32>.makeStream(bufferingPolicy: .unbounded)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await OwnThread.run(awaiting: {
                    defer { continuation.finish() }
                    while true {
                        let connection = catchingAccept(listener)
                        guard connection >= 0 else { return }
                        continuation.yield(connection)
                    }
                })
            }
            group.addTask {
                await withTaskCancellationHandler {
                    await withDiscardingTaskGroup { requests in
                        for await connection in connections { requests.addTask { await serve(connection) } }
                    }
                } onCancel: {
                    shutdown(listener, Int32(SHUT_RDWR))
                }
            }
            group.addTask { try await onListening() }
            do {
                // waitForAll would keep a failure to itself until the listener has ended.
                while try await group.next() != nil {}
            } catch {
                shutdown(listener, Int32(SHUT_RDWR))
                throw error
            }
        }
    }

    private func serve(_ connection: Int32) async {
        defer { close(connection) }
        do {
            let (request, descriptors) = try await OwnThread.run(awaiting: { try Self.receive(connection) })
            defer { for descriptor in descriptors { close(descriptor) } }
            let reply = await reply(to: request, descriptors.first)
            try await OwnThread.run(awaiting: { try Self.send(AgentMessage.frame(reply), connection) })
        } catch {
            logger.warning("a plugin's request was not answered: \(error)")
        }
    }

    private func reply(to request: JSON, _ netns: Int32?) async -> JSON {
        do {
            let (parameters, configuration) = try AgentMessage.parse(request: request)
            return AgentMessage.reply(result: try await answer(parameters, configuration, netns))
        } catch let error as CNIError {
            return AgentMessage.reply(error: error)
        } catch {
            return AgentMessage.reply(error: CNIError(.plugin, "\(error)"))
        }
    }

    /// The plugin sends at once; whoever does not is not waited for.
    private static func receive(_ connection: Int32) throws -> (JSON, [Int32]) {
        let socket = UnixSocket(owning: dup(connection))
        try socket.setTimeout(.seconds(10))
        let header = try socket.receive(exactly: 4)
        do {
            guard let length = AgentMessage.length(header.bytes) else {
                throw CNIError(.undecodable, "the request is longer than \(AgentMessage.maximumLength) bytes")
            }
            let body = try socket.receive(exactly: length)
            for descriptor in body.descriptors { close(descriptor) }
            return (try JSON(parsing: body.bytes), header.descriptors)
        } catch {
            for descriptor in header.descriptors { close(descriptor) }
            throw error
        }
    }

    private static func send(_ bytes: [UInt8], _ connection: Int32) throws {
        let socket = UnixSocket(owning: dup(connection))
        try socket.setTimeout(.seconds(10))
        try socket.send(bytes)
    }
}

/// Accepts a connection; negative when the listener is shut down. Passing failures are tried again.
private func catchingAccept(_ listener: Int32) -> Int32 {
    while true {
        let connection = accept4Closing(listener)
        if connection >= 0 { return connection }
        guard errno == EINTR || errno == ECONNABORTED || errno == EMFILE || errno == ENFILE else { return -1 }
        // Out of descriptors: give those who hold them a moment rather than spin.
        if errno == EMFILE || errno == ENFILE { usleep(10_000) }
    }
}

private func accept4Closing(_ listener: Int32) -> Int32 {
    let connection = accept(listener, nil, nil)
    if connection >= 0 { _ = fcntl(connection, F_SETFD, FD_CLOEXEC) }
    return connection
}
