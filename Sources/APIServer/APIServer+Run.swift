// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Logging
import NIOCore
import Storage

extension APIServer {
    /// Serves HTTPS until the task is cancelled. `onBound` is told the port once clients can connect, also when it was
    /// left to chance.
    public func run(onBound: @escaping @Sendable (_ port: Int) -> Void = { _ in }) async throws {
        try await start()
        var serving = HTTPServerConfiguration(
            .address(host: configuration.bindHost, port: configuration.bindPort),
            security: .tls(
                certificatePEM: configuration.certificatePEM, privateKeyPEM: configuration.privateKeyPEM,
                clientCAPEM: configuration.clientCAPEM))
        // What is decoded here has its own limit, and what is passed on has none.
        serving.maximumBodySize = .max
        let server = HTTPServer(serving, logger: logger) { request in await self.respond(to: request) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { onBound($0.port ?? 0) } }
            group.addTask { try await self.compactRegularly() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Forgets history that is older than the interval: a list that is continued later than that begins again.
    private func compactRegularly() async throws {
        guard let interval = configuration.compactionInterval else {
            try await Task.sleep(for: .seconds(Int64.max / 4))
            return
        }
        var boundary = await storage.currentRevision
        while true {
            // Age is what decides here, so time is what is waited for.
            try await Task.sleep(for: interval)
            let now = await storage.currentRevision
            // Under a load of writes the store may have given up more than that by itself.
            if await boundary > storage.compactedRevision {
                do {
                    try await storage.compact(to: boundary)
                } catch {
                    logger.warning("compaction failed", metadata: ["revision": "\(boundary)", "error": "\(error)"])
                }
            }
            boundary = now
        }
    }
}
