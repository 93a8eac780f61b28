// SPDX-License-Identifier: Apache-2.0

import APIServer
import ContainerRuntime
import Glibc
import KubeClient
import KubeObjects
import Kubelet
import PKI
import Storage
import Synchronization
import Testing
import Values

/// What a kubelet tells of its node, asked through the API server: `kubectl get --raw /api/v1/nodes/N/proxy/…`.
@Suite("Node routes", .serialized) struct NodeRouteTests {
    private static let port = 10300 + Int(getpid() % 9000)

    private static func with(_ body: @escaping @Sendable (Rig, KubeClient) async throws -> Void) async throws {
        try await withAuthority { rig, client, _ in try await body(rig, client) }
    }

    private static func withAuthority(
        _ body: @escaping @Sendable (Rig, KubeClient, CertificateAuthority) async throws -> Void
    ) async throws {
        let authority = try CertificateAuthority.create(commonName: "test")
        let own = try authority.issue(commonName: "kube-apiserver-kubelet-client", organizations: ["system:masters"])
        let serving = try authority.issue(commonName: "lab", dnsNames: ["lab"], ipAddresses: [IPAddress(127, 0, 0, 1)])
        var configuration = APIServerConfiguration(tokenSigner: TokenSigner.create())
        configuration.clientCAPEM = authority.certificatePEM
        configuration.kubeletClientCertificatePEM = own.certificatePEM
        configuration.kubeletClientKeyPEM = own.privateKeyPEM
        configuration.kubeletPort = port
        configuration.route = { $0 }
        let server = APIServer(storage: MemoryBackend(), configuration: configuration)
        defer { server.stop() }
        try await server.bootstrap()
        let client = KubeClient(server.inProcessTransport(user: "admin", groups: ["system:masters"]))
        let rig = Rig(client: client)
        var account = KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default")
        account["automountServiceAccountToken"] = false
        try await client.create(.serviceAccounts, account)
        defer { try? NodeFiles.removeTree(rig.directory, detachingMounts: true) }
        var settings = KubeletConfiguration(
            nodeName: "lab", nodeIP: IPAddress(127, 0, 0, 1), clusterDNS: [IPAddress(10, 96, 0, 10)])
        settings.rootDirectory = rig.directory + "/kubelet"
        settings.podLogDirectory = rig.directory + "/pods"
        settings.containerLogDirectory = rig.directory + "/containers"
        settings.cgroupRoot = ""
        settings.servingCertificatePEM = serving.certificatePEM
        settings.servingKeyPEM = serving.privateKeyPEM
        settings.clientCAPEM = authority.certificatePEM
        settings.port = port
        let kubelet = Kubelet(client: client, configuration: settings, standIn: rig.runtime, imageSource: FakeImages())
        let task = Task { try await kubelet.run() }
        let result: Result<Void, any Error>
        do {
            try await rig.create("web", KubeletSuite.simple)
            try await rig.wait(pod: "web") { isReady($0) }
            try await body(rig, client, authority)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        task.cancel()
        _ = try? await task.value
        try result.get()
    }

    @Test("who asks by name reaches the pod that has the name now, not one that was deleted by force")
    func sameName() async throws {
        try await Self.with { rig, client in
            func log(_ pod: KubeObject?, _ text: String) throws {
                let folder = "\(rig.directory)/pods/default_web_\(pod?.uid ?? "")/c"
                try NodeFiles.makeDirectory(folder)
                try NodeFiles.write(
                    Array("2026-01-01T00:00:00.000000000Z stdout F \(text)\n".utf8), to: folder + "/0.log")
            }
            rig.runtime.state.withLock { $0.ignoresStops = true }
            let old = try await client.get(.pods, "web", in: "default")
            try log(old, "old")
            #expect(try await client.text("/api/v1/namespaces/default/pods/web/log") == "old\n")
            try await client.delete(.pods, "web", in: "default", gracePeriodSeconds: 0)
            try await rig.wait(pod: "web", "forgotten") { $0 == nil }
            try await rig.create("web", KubeletSuite.simple)
            let new = try await rig.wait(pod: "web", "made again") { isReady($0) }
            try log(new, "new")
            // Both are there, the old one still ending.
            #expect(rig.runtime.sandboxes().count == 2)
            #expect(try await client.text("/api/v1/namespaces/default/pods/web/log") == "new\n")
            let node = "/api/v1/nodes/lab/proxy"
            let pods = try JSON(parsing: Array(try await client.text("\(node)/pods").utf8))
            #expect(pods["items"].array?.map { $0["metadata"]["uid"].string } == [new?.uid])
            let summary = try JSON(parsing: Array(try await client.text("\(node)/stats/summary").utf8))
            #expect(summary["pods"].array?.map { $0["podRef"]["uid"].string } == [new?.uid])
            rig.runtime.state.withLock { $0.ignoresStops = false }
            for container in rig.runtime.containers() { rig.runtime.exit(container.id, 0) }
        }
    }

    /// Asks the kubelet itself; nil when it answers, else the code and what it says.
    private static func ask(
        _ path: String, _ authority: CertificateAuthority, token: String? = nil, user: String? = nil,
        groups: [String] = []
    ) async throws -> APIError? {
        var configuration = ClientConfiguration(
            server: "https://127.0.0.1:\(port)", caPEM: authority.certificatePEM, token: token)
        if let user {
            let own = try authority.issue(commonName: user, organizations: groups)
            configuration.certificatePEM = own.certificatePEM
            configuration.privateKeyPEM = own.privateKeyPEM
        }
        let client = KubeClient(try HTTPTransport(configuration))
        do {
            _ = try await client.text(path)
            return nil
        } catch let error as APIError {
            return error
        }
    }

    @Test("who may ask: by certificate and by token, each path by its subresource of nodes")
    func access() async throws {
        try await Self.withAuthority { _, client, authority in
            #expect(try await Self.ask("/healthz", authority)?.code == 401)
            let nobody = try await Self.ask("/metrics", authority, token: "nobody's")
            #expect(nobody?.code == 401)
            #expect(nobody?.message == "Unauthorized: the API server does not know the bearer token")
            var account = KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "scraper", namespace: "default")
            account["automountServiceAccountToken"] = false
            try await client.create(.serviceAccounts, account)
            let request: JSON = [
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": [:],
                "spec": ["expirationSeconds": 3600],
            ]
            let answer = try await client.create(
                .serviceAccounts, name: "scraper", in: "default", subresource: "token", request)
            let token = try #require(answer["status"]["token"].string)
            let refused = try await Self.ask("/stats/summary", authority, token: token)
            #expect(refused?.code == 403)
            #expect(
                refused?.message
                    == "Forbidden (user=system:serviceaccount:default:scraper, verb=get, resource=nodes, subresource(s)=[stats])"
            )
            func allow(_ name: String, _ resource: String, _ subject: JSON) async throws {
                var role = KubeObject(.clusterRoles, kind: "ClusterRole", name: name)
                role["rules"] = [["verbs": ["get"], "apiGroups": [""], "resources": [JSON(resource)]]]
                try await client.create(.clusterRoles, role)
                var binding = KubeObject(.clusterRoleBindings, kind: "ClusterRoleBinding", name: name)
                binding["roleRef"] = [
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": JSON(name),
                ]
                binding["subjects"] = [subject]
                try await client.create(.clusterRoleBindings, binding)
            }
            try await allow(
                "metrics", "nodes/metrics", ["kind": "ServiceAccount", "name": "scraper", "namespace": "default"])
            for path in ["/metrics", "/metrics/resource", "/metrics/cadvisor"] {
                #expect(try await Self.ask(path, authority, token: token) == nil)
            }
            for (path, subresources) in [
                ("/pods", "pods proxy"), ("/runningpods/", "pods proxy"), ("/configz", "configz proxy"),
                ("/healthz", "healthz proxy"), ("/logs/", "log"), ("/containerLogs/default/web/c", "proxy"),
                ("/exec/default/web/c", "proxy"), ("/checkpoint/default/web/c", "checkpoint"),
                ("//run//default/web/c", "proxy"),
            ] {
                let refusal = try await Self.ask(path, authority, token: token)
                #expect(refusal?.code == 403)
                #expect(refusal?.message.contains("subresource(s)=[\(subresources)]") == true)
            }
            // A certificate says who, and is asked about in the same way.
            #expect(try await Self.ask("/pods", authority, user: "ann")?.code == 403)
            try await allow(
                "pods", "nodes/proxy", ["kind": "Group", "name": "readers", "apiGroup": "rbac.authorization.k8s.io"])
            #expect(try await Self.ask("/pods", authority, user: "ben", groups: ["readers"]) == nil)
            #expect(try await Self.ask("/metrics", authority, user: "ben", groups: ["readers"])?.code == 403)
            #expect(try await Self.ask("/metrics", authority, user: "root", groups: ["system:masters"]) == nil)
        }
    }

    @Test("health, pods, settings, figures and logs")
    func routes() async throws {
        try await Self.with { _, client in
            let node = "/api/v1/nodes/lab/proxy"
            func json(_ path: String) async throws -> JSON {
                try JSON(parsing: Array(try await client.text("\(node)/\(path)").utf8))
            }
            #expect(try await client.text("\(node)/healthz") == "ok")
            #expect(try await client.text("\(node)/healthz/syncloop") == "ok")
            #expect(
                try await client.text("\(node)/healthz", query: [("verbose", "")])
                    == "[+]ping ok\n[+]syncloop ok\nhealthz check passed\n")
            #expect(try await json("pods")["items"][0]["metadata"]["name"].string == "web")
            #expect(try await json("runningpods/")["items"][0]["spec"]["containers"][0]["name"].string == "c")
            let settings = try await json("configz")["kubeletconfig"]
            #expect(settings["clusterDNS"] == ["10.96.0.10"])
            #expect(settings["port"].int == Self.port)
            let summary = try await json("stats/summary")
            #expect(summary["node"]["nodeName"].string == "lab")
            #expect(summary["node"]["fs"]["capacityBytes"].int ?? 0 > 0)
            #expect(summary["pods"][0]["podRef"]["name"].string == "web")
            let metrics = try await client.text("\(node)/metrics")
            #expect(metrics.contains("kubelet_running_containers{container_state=\"running\"} 1"))
            #expect(try await client.text("\(node)/metrics/resource").contains("resource_scrape_error 1"))
            #expect(try await client.text("\(node)/logs/").contains("<pre>"))
            let error = await #expect(throws: APIError.self) { try await client.text("\(node)/none") }
            #expect(error?.code == 404)
        }
    }
}
