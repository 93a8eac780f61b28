// SPDX-License-Identifier: Apache-2.0

import APIServer
import APIServerTesting
import KubeClient
import KubeObjects
import PKI
import Storage
import Values

/// A server over a store in memory, with what every cluster has.
struct Fixture {
    let server: APIServer
    let storage: MemoryBackend
    /// May do everything.
    let client: KubeClient
    let transport: any APITransport

    init(bootstrap: Bool = true) async throws {
        try await self.init(over: bootstrap ? try await BootstrappedStorage.copy() : MemoryBackend())
        if bootstrap {
            try await server.bootstrap()
            _ = try await client.create(
                .serviceAccounts,
                KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default"))
        }
    }

    /// A server over a store that may have objects already.
    init(over storage: MemoryBackend) async throws {
        self.storage = storage
        server = APIServer(
            storage: storage, configuration: APIServerConfiguration(tokenSigner: .create(), compactionInterval: nil))
        transport = server.inProcessTransport(user: "admin", groups: ["system:masters"])
        client = KubeClient(transport)
        try await server.start()
    }

    func client(_ user: String, groups: [String] = []) -> KubeClient {
        KubeClient(server.inProcessTransport(user: user, groups: groups))
    }

    struct Answer {
        var status: Int
        var headers: [(String, String)]
        var bytes: [UInt8]
        var json: JSON { (try? JSON(parsing: bytes)) ?? .null }
        func header(_ name: String) -> String? { headers.first { $0.0.lowercased() == name.lowercased() }?.1 }
    }

    /// A request as it would come over the network.
    func send(
        _ method: String, _ path: String, _ body: JSON? = nil, type: String? = "application/json",
        accept: String = "application/json", as user: String? = nil, agent: String? = nil
    ) async throws -> Answer {
        try await send(
            method, path, bytes: body?.serialized() ?? [], type: type, accept: accept, as: user, agent: agent)
    }

    func send(
        _ method: String, _ path: String, bytes: [UInt8], type: String?, accept: String = "application/json",
        as user: String? = nil, agent: String? = nil
    ) async throws -> Answer {
        let parts = path.split(separator: "?", maxSplits: 1)
        var query: [(String, String)] = []
        for item in parts.dropFirst().first?.split(separator: "&") ?? [] {
            let pair = item.split(separator: "=", maxSplits: 1).map(String.init)
            query.append((pair[0], pair.count > 1 ? pair[1] : ""))
        }
        var headers = [("Accept", accept)]
        if let type { headers.append(("Content-Type", type)) }
        if let agent { headers.append(("User-Agent", agent)) }
        let transport = user.map { server.inProcessTransport(user: $0, groups: []) } ?? transport
        let response = try await transport.send(
            APIRequest(method: method, path: String(parts[0]), query: query, headers: headers, body: bytes))
        return Answer(status: response.status, headers: response.headers, bytes: try await response.body.collect())
    }

    /// The lines of a watch as they come.
    func watch(_ path: String, accept: String = "application/json") async throws -> WatchLines {
        let parts = path.split(separator: "?", maxSplits: 1)
        var query: [(String, String)] = [("watch", "true")]
        for item in parts.dropFirst().first?.split(separator: "&") ?? [] {
            let pair = item.split(separator: "=", maxSplits: 1).map(String.init)
            query.append((pair[0], pair.count > 1 ? pair[1] : ""))
        }
        let response = try await transport.send(
            APIRequest(method: "GET", path: String(parts[0]), query: query, headers: [("Accept", accept)]))
        return WatchLines(response)
    }
}

/// The events of a watch, one after the other.
final class WatchLines {
    let status: Int
    private var iterator: AsyncThrowingStream<[UInt8], any Error>.Iterator?
    private var pending: [UInt8] = []

    init(_ response: APIResponse) {
        status = response.status
        if case .stream(let stream) = response.body { iterator = stream.makeAsyncIterator() }
        if case .bytes(let bytes) = response.body { pending = bytes + [0x0A] }
    }

    /// Nil when the watch has ended.
    func next() async throws -> JSON? {
        while true {
            if let end = pending.firstIndex(of: 0x0A) {
                let line = Array(pending[..<end])
                pending.removeFirst(end + 1)
                return try JSON(parsing: line)
            }
            guard let piece = try await iterator?.next() else { return nil }
            pending += piece
        }
    }

    /// `TYPE name` of the next event.
    func summary() async throws -> String {
        let event = try await next()
        return "\(event["type"].string ?? "END") \(event["object"]["metadata"]["name"].string ?? "")"
    }
}

func configMap(_ name: String, _ data: [String: String] = [:], labels: [String: String] = [:]) -> KubeObject {
    var object = KubeObject(.configMaps, kind: "ConfigMap", name: name, namespace: "default", labels: labels)
    object["data"] = JSON(data)
    return object
}

func pod(_ name: String) -> KubeObject {
    var pod = KubeObject(.pods, kind: "Pod", name: name, namespace: "default")
    pod["spec"] = ["containers": [["name": "main", "image": "busybox"]]]
    return pod
}
