// SPDX-License-Identifier: Apache-2.0

import APIServer
import IPAM
import KubeClient
import KubeObjects
import Linux
import Logging
import PKI
import Storage
import Synchronization
import Values

/// The real API server over SQLite in a folder of its own, without HTTP in between.
final class Server: Sendable {
    private final class Counting: APITransport {
        let next: any APITransport
        let writes = Mutex(0)

        init(_ next: any APITransport) { self.next = next }

        func send(_ request: APIRequest) async throws -> APIResponse {
            if request.method != "GET" { writes.withLock { $0 += 1 } }
            return try await next.send(request)
        }
    }

    let folder: String
    private let server: APIServer
    private let transport: Counting
    let client: KubeClient

    init() async throws {
        folder = "/tmp/catbird-bench-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories(folder)
        server = APIServer(
            storage: try SQLiteBackend(path: "\(folder)/store.db"),
            configuration: APIServerConfiguration(tokenSigner: .create()))
        try await server.start()
        try await server.bootstrap()
        transport = Counting(server.inProcessTransport(user: "system:admin", groups: ["system:masters"]))
        client = KubeClient(transport)
    }

    deinit {
        server.stop()
        try? Files.removeTree(folder)
    }

    /// Requests that changed something, so far.
    var writes: Int { transport.writes.withLock { $0 } }

    func addNode(_ name: String, address: String? = nil) async throws {
        var node = KubeObject(.nodes, kind: "Node", name: name)
        let made = try await client.create(.nodes, node)
        guard let address else { return }
        node.metadata = made.metadata
        node["status"] = ["addresses": [["type": "InternalIP", "address": JSON(address)]]]
        try await client.update(.nodes, node, subresource: "status")
    }

    func addPool(_ cidr: String) async throws {
        var pool = KubeObject(.ipPools, kind: "IPPool", name: "bench")
        pool["spec"] = ["cidr": JSON(cidr), "blockSize": 26, "nodeSelector": "all()", "vxlanMode": "Never"]
        try await client.create(.ipPools, pool)
    }

    /// Runs `body` with the objects as watches keep them.
    func withStore(_ body: (WatchedStore) async throws -> Void) async throws {
        let informers = [
            GroupVersionResource.ipPools, .ipamBlocks, .blockAffinities, .nodes, .ipReservations, .ipamConfigs,
        ].map { Informer(client, $0, logger: Logger(label: "bench")) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for informer in informers { group.addTask { await informer.run() } }
            for informer in informers { await informer.waitUntilSynced() }
            try await body(WatchedStore(client: client, feed: { InformerFeed(informers) }))
            group.cancelAll()
        }
    }
}
