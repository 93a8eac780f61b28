// SPDX-License-Identifier: Apache-2.0

import APIServer
import APIServerTesting
import KubeClient
import KubeObjects
import Logging
import Manifests
import PKI
import Synchronization
import Values

/// A real API server in memory.
struct TestAPI: Sendable {
    let server: APIServer
    let addons = Addons(apiHost: "192.168.49.2", apiPort: 8443)
    let log = LogLines()

    static func with(_ body: (TestAPI) async throws -> Void) async throws {
        let server = APIServer(
            storage: try await BootstrappedStorage.copy(),
            configuration: APIServerConfiguration(tokenSigner: .create(), compactionInterval: nil))
        try await server.start()
        try await server.bootstrap()
        defer { server.stop() }
        try await body(TestAPI(server: server))
    }

    /// A client of an administrator whose program has that name.
    func client(_ program: String) -> KubeClient { KubeClient(transport, userAgent: program) }

    var transport: any APITransport {
        server.inProcessTransport(user: "system:catbird", groups: ["system:masters", "system:authenticated"])
    }

    /// Brings the addons up, as the control plane does at its start.
    func install(_ client: KubeClient? = nil) async throws {
        try await AddonInstaller(client: client ?? self.client("catbird"), addons: addons, log: log.logger).run()
    }

    /// What a version before server-side apply did: it created what was not there, and marked nothing.
    func installAsBefore(_ change: (inout KubeObject) -> Void = { _ in }) async throws {
        for shipped in try addons.shipped() {
            var object = shipped.object
            object.metadata["labels"][Addons.ownerLabel] = nil
            object.metadata["labels"][Addons.addonLabel] = nil
            object.metadata["annotations"] = nil
            change(&object)
            try await client("catbird").create(shipped.resource, object)
        }
    }
}

/// What is logged.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    var logger: Logger {
        Logger(label: "test") { _ in Handler(lines: self) }
    }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .trace

        subscript(metadataKey key: String) -> Logger.MetadataValue? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { lines.lines.withLock { $0.append("\(event.level) \(event.message)") } }
    }
}

/// Answers some requests in the server's place.
struct InterferingTransport: APITransport {
    let inner: any APITransport
    let answer: @Sendable (APIRequest) -> APIResponse?

    func send(_ request: APIRequest) async throws -> APIResponse {
        if let response = answer(request) { return response }
        return try await inner.send(request)
    }
}
