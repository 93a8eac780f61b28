// SPDX-License-Identifier: Apache-2.0

import APIServer
import HTTPServing
import KubeClient
import KubeObjects
import NIOHTTP1
import PKI
import Storage
import Synchronization
import Testing
import Values

/// A store that can be broken.
private final class FragileBackend: Backend {
    private let whole = MemoryBackend()
    private let broken = Mutex(false)
    /// A write has been acknowledged that no watch tells of.
    private let silent = Mutex(false)

    func setSilent(_ isSilent: Bool) { silent.withLock { $0 = isSilent } }

    func setBroken(_ isBroken: Bool) { broken.withLock { $0 = isBroken } }

    private func check() throws(StorageError) {
        if broken.withLock({ $0 }) { throw .unavailable("the disk is full") }
    }

    var currentRevision: Int64 { get async { whole.currentRevision + (silent.withLock { $0 } ? 1 : 0) } }
    var compactedRevision: Int64 { get async { whole.compactedRevision } }
    func get(_ key: String, at revision: Int64?) async throws(StorageError) -> KeyValue? {
        try check()
        return try await whole.get(key, at: revision)
    }
    func range(
        prefix: String, from startKey: String?, limit: Int?, at revision: Int64?
    ) async throws(StorageError) -> RangeResult {
        try check()
        return try await whole.range(prefix: prefix, from: startKey, limit: limit, at: revision)
    }
    func put(_ key: String, _ value: [UInt8], expecting modRevision: Int64?) async throws(StorageError) -> PutResult {
        try await whole.put(key, value, expecting: modRevision)
    }
    func delete(_ key: String, expecting modRevision: Int64?) async throws(StorageError) -> DeleteResult {
        try await whole.delete(key, expecting: modRevision)
    }
    func watch(prefix: String, after revision: Int64) async throws(StorageError) -> StoreWatch {
        try await whole.watch(prefix: prefix, after: revision)
    }
    func compact(to revision: Int64) async throws(StorageError) { try await whole.compact(to: revision) }
}

@Suite struct HealthTests {
    private let store = FragileBackend()
    private let server: APIServer

    init() {
        server = APIServer(
            storage: store, configuration: APIServerConfiguration(tokenSigner: .create(), compactionInterval: nil))
    }

    private func ask(_ target: String, as user: String? = "admin") async throws -> (status: Int, text: String) {
        let request = try #require(
            HTTPRequest(
                method: "GET", target: target,
                client: user.map { ClientCertificate(commonName: $0, organizations: ["system:masters"]) }))
        let response = await server.respond(to: request)
        guard case .bytes(let bytes) = response.body else { return (response.status, "") }
        return (response.status, String(decoding: bytes, as: UTF8.self))
    }

    @Test func notReadyBeforeTheStoreWasRead() async throws {
        let early = try await ask("/readyz", as: nil)
        #expect(early.status == 500)
        #expect(early.text.contains("[-]informer-sync failed: reason withheld\n"))
        #expect(early.text.hasSuffix("readyz check failed\n"))
        // It may be read, but what every cluster has is not there.
        try await server.start()
        #expect(try await ask("/readyz").status == 500)
        #expect(try await ask("/readyz/informer-sync").text == "ok")
        try await server.bootstrap()
        #expect(try await ask("/readyz", as: nil) == (200, "ok"))
        server.stop()
        #expect(try await ask("/livez").status == 200)
        let late = try await ask("/readyz/shutdown")
        #expect(late.status == 500)
        #expect(late.text == "internal server error: process is shutting down\n")
    }

    @Test func eachCheckIsToldAndCanBeLeftOut() async throws {
        try await server.bootstrap()
        let verbose = try await ask("/readyz?verbose")
        #expect(
            verbose.text == """
                [+]ping ok
                [+]etcd ok
                [+]etcd-readiness ok
                [+]informer-sync ok
                [+]poststarthook/rbac/bootstrap-roles ok
                [+]shutdown ok
                readyz check passed

                """)
        let live = try await ask("/livez?verbose")
        #expect(live.text.hasSuffix("[+]poststarthook/rbac/bootstrap-roles ok\nlivez check passed\n"))
        for name in ["ping", "etcd", "poststarthook/rbac/bootstrap-roles"] {
            #expect(try await ask("/healthz/\(name)") == (200, "ok"))
        }
        #expect(try await ask("/healthz/none").status == 404)
        #expect(try await ask("/healthz/shutdown").status == 404)
        let left = try await ask("/healthz?verbose&exclude=etcd&exclude=none&exclude=other")
        #expect(left.text.contains("[+]etcd excluded: ok\n"))
        #expect(left.text.contains("warn: some health checks cannot be excluded: no matches for \"none\", \"other\"\n"))
        server.stop()
    }

    @Test(.timeLimit(.minutes(1))) func withADeadFeedRequestsAreToldToComeAgain() async throws {
        try await server.bootstrap()
        store.setSilent(true)
        #expect(try await ask("/livez").status == 200)
        async let ready = ask("/readyz/informer-sync")
        let request = try #require(
            HTTPRequest(
                method: "GET", target: "/api/v1/namespaces/default",
                client: ClientCertificate(commonName: "admin", organizations: ["system:masters"])))
        let answer = await server.respond(to: request)
        #expect(answer.status == 503)
        #expect(answer.headers.contains { $0.0 == "Retry-After" && $0.1 == "1" })
        let (status, text) = try await ready
        #expect(status == 500 && text.contains("does not follow its store"))
        store.setSilent(false)
        #expect(try await ask("/api/v1/namespaces/default").status == 200)
        #expect(try await ask("/readyz").status == 200)
        server.stop()
    }

    @Test func damagedBytesAreNoEmptyObject() async throws {
        let key = "/registry/core/configmaps/default/torn"
        _ = try await store.put(
            key, Array(#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"na"#.utf8), expecting: 0)
        let error = await #expect(throws: StorageError.self) { try await server.start() }
        #expect(error?.description.contains("\(key) at revision 2 is damaged") == true)
        let answer = try await ask("/api/v1/namespaces/default/configmaps")
        #expect(answer.status == 500 && answer.text.contains(key))
    }

    @Test func withoutItsStoreTheServerIsNotWell() async throws {
        try await server.bootstrap()
        store.setBroken(true)
        for kind in ["healthz", "livez", "readyz"] {
            let answer = try await ask("/\(kind)", as: nil)
            #expect(answer.status == 500)
            #expect(answer.text.contains("[-]etcd failed: reason withheld\n"))
            #expect(!answer.text.contains("disk"))
        }
        let single = try await ask("/healthz/etcd")
        #expect(single == (500, "internal server error: the store cannot be used: the disk is full\n"))
        #expect(try await ask("/livez?exclude=etcd") == (200, "ok"))
        let list = try await ask("/api/v1/componentstatuses")
        let etcd = try JSON(parsing: list.text)["items"].array?.first { $0["metadata"]["name"].string == "etcd-0" }
        #expect(etcd["conditions"][0]["status"].string == "False")
        store.setBroken(false)
        #expect(try await ask("/healthz") == (200, "ok"))
        server.stop()
    }

    @Test func singleChecksAreNotForEverybody() async throws {
        try await server.bootstrap()
        let request = try #require(HTTPRequest(method: "GET", target: "/readyz/etcd"))
        #expect(await server.respond(to: request).status == 403)
        server.stop()
    }

    @Test func componentsAreHealthyWhenTheyRun() async throws {
        try await server.bootstrap()
        func statuses() async throws -> [String] {
            try JSON(parsing: try await ask("/api/v1/componentstatuses").text)["items"].array?.map {
                let condition = $0["conditions"][0]
                return "\($0["metadata"]["name"].string ?? "") \(condition["type"].string ?? "")="
                    + "\(condition["status"].string ?? ""): \(condition["message"].string ?? "")"
            } ?? []
        }
        let idle = "Healthy=False: it does not run in this control plane"
        #expect(try await statuses() == ["controller-manager \(idle)", "scheduler \(idle)", "etcd-0 Healthy=True: ok"])
        server.components.report(.scheduler, isRunning: true)
        server.components.report(.controllerManager, isRunning: true)
        #expect(
            try await statuses() == [
                "controller-manager Healthy=True: ok", "scheduler Healthy=True: ok", "etcd-0 Healthy=True: ok",
            ])
        server.components.report(.scheduler, isRunning: false)
        #expect(try await statuses()[1] == "scheduler \(idle)")
        let one = try JSON(parsing: try await ask("/api/v1/componentstatuses/etcd-0").text)
        #expect(one["kind"].string == "ComponentStatus")
        #expect(try await ask("/api/v1/componentstatuses/none").status == 404)
        server.stop()
    }

    @Test func theVersionHasAllItsParts() async throws {
        try await server.bootstrap()
        let version = try JSON(parsing: try await ask("/version").text)
        #expect(version["minor"].string == "36")
        #expect(version["minCompatibilityMinor"].string == "35")
        #expect(version.object?.allSatisfy { $0.value.string != nil } == true)
        server.stop()
    }
}
