// SPDX-License-Identifier: Apache-2.0

import APIServer
import Glibc
import KubeClient
import KubeObjects
import Kubelet
import PKI
import Storage
import Testing
import Values

/// What a kubelet tells of its node, asked through the API server: `kubectl get --raw /api/v1/nodes/N/proxy/…`.
@Suite("Node routes", .serialized) struct NodeRouteTests {
    private static let port = 10300 + Int(getpid() % 9000)

    private static func with(_ body: @escaping @Sendable (Rig, KubeClient) async throws -> Void) async throws {
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
            try await body(rig, client)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        task.cancel()
        _ = try? await task.value
        try result.get()
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
