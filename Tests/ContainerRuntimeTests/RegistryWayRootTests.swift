// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import HTTPServing
import Linux
import NIOCore
import PKI
import Synchronization
import Testing

/// The ways to a registry: through proxies, without TLS, with certificates that nobody knows, from another network, and
/// what is said when one leads nowhere.
@Suite(.enabled(if: geteuid() == 0)) struct RegistryWayRootTests {
    private let scratch: Scratch
    private let registry: TinyRegistry

    init() async throws {
        scratch = try Scratch()
        registry = try TinyRegistry()
        var layer = Tar()
        layer.add("file", content: Array("hello".utf8))
        try await registry.push(try await TestImage([layer.finished]), "a", tag: "1")
    }

    private func store(_ settings: RegistrySettings) -> ImageStore {
        ImageStore(root: scratch.path + "/images", registries: settings)
    }

    private func proxies(_ port: UInt16, user: String = "") -> ProxySettings {
        ProxySettings(environment: [
            "HTTPS_PROXY": "http://\(user)127.0.0.1:\(port)", "HTTP_PROXY": "http://\(user)127.0.0.1:\(port)",
        ])
    }

    /// The message of the failure, which must be of the kind that may pass by itself.
    private func failure(_ settings: RegistrySettings, _ name: String = "registry.example/a:1") async throws -> String {
        let store = store(settings)
        let error = try #require(await #expect(throws: ImageError.self) { _ = try await store.pull(name) })
        #expect(error.kind == .unreachable)
        for word in ["Error", "NIO", "SSL", "unknown("] { #expect(!error.message.contains(word), "\(error)") }
        return error.message
    }

    @Test func aProxyIsAskedWithItsCredentialsAndNamed() async throws {
        let proxy = try TinyProxy(to: registry.port)
        let settings = RegistrySettings(
            insecure: ["registry.example"], proxies: proxies(proxy.port, user: "me:secret@"))
        let store = store(settings)
        #expect(try await store.pull("registry.example/a:1").repoTags == ["registry.example/a:1"])
        let asked = proxy.asked.withLock { $0 }
        #expect(asked.allSatisfy { $0.line == "CONNECT registry.example:80 HTTP/1.1" } && !asked.isEmpty)
        #expect(asked.allSatisfy { $0.authorization.hasSuffix("Basic bWU6c2VjcmV0") })
        #expect(store.proxy(for: "registry.example/a:1") == "http://127.0.0.1:\(proxy.port) (HTTPS_PROXY)")
        #expect(store.proxy(for: "localhost:5000/a:1") == nil)
    }

    @Test func aProxyThatRefusesIsNamedWithoutItsSecrets() async throws {
        for (refusal, words) in [
            ("502 Bad Gateway", "refuses to connect"), ("407 Proxy Authentication Required", "wants a user"),
        ] {
            let proxy = try TinyProxy(to: registry.port, refusal: refusal)
            let message = try await failure(RegistrySettings(proxies: proxies(proxy.port, user: "me:secret@")))
            #expect(message.contains("through the proxy http://127.0.0.1:\(proxy.port) (HTTPS_PROXY)"))
            #expect(message.contains(words) && message.contains("NO_PROXY"), "\(message)")
            #expect(!message.contains("secret"))
        }
        let closed = try TinyRegistry().port
        let message = try await failure(RegistrySettings(proxies: proxies(closed)))
        #expect(message.contains("connection refused") && message.contains("through the proxy"), "\(message)")
        let odd = ProxySettings(environment: ["HTTPS_PROXY": "https://127.0.0.1:1"])
        #expect(try await failure(RegistrySettings(proxies: odd)).contains("give HTTPS_PROXY as http://HOST:PORT"))
    }

    @Test func whereARegistrySendsToIsAskedByItsOwnWay() async throws {
        // The layer lies on a server of the loopback, which no proxy is asked for; the registry is behind one.
        let storage = try TinyRegistry()
        let proxy = try TinyProxy(to: registry.port)
        let content = registry
        storage.handle { request in
            #expect(request.headers["authorization"] == nil)
            return content.content(request.target).map { TinyRegistry.Answer(status: "200 OK", body: $0) }
        }
        let place = storage.host
        registry.handle { request in
            if request.headers["authorization"] == nil {
                return TinyRegistry.Answer(
                    status: "401 Unauthorized", headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
            }
            guard request.target.contains("/blobs/") else { return nil }
            return TinyRegistry.Answer(
                status: "307 Temporary Redirect", headers: [("Location", "http://\(place)\(request.target)")])
        }
        let store = store(RegistrySettings(insecure: ["registry.example"], proxies: proxies(proxy.port)))
        let credential = RegistryCredential(registry: "registry.example", username: "u", password: "p")
        _ = try await store.pull("registry.example/a:1", credentials: [credential])
        #expect(storage.requests.withLock { $0.count } == 2)
        registry.handle { request in
            TinyRegistry.Answer(status: "302 Found", headers: [("Location", request.target)])
        }
        let error = await #expect(throws: ImageError.self) { _ = try await store.pull("registry.example/a:2") }
        #expect(error?.message.contains("without end") == true)
    }

    @Test func plainHTTPWhereHTTPSWasExpectedIsSaidWithTheFlag() async throws {
        let proxy = try TinyProxy(to: registry.port)
        let message = try await failure(RegistrySettings(proxies: proxies(proxy.port)))
        #expect(
            message.contains("plain HTTP") && message.contains("--insecure-registry registry.example"), "\(message)")
    }

    @Test func certificatesThatNobodyKnowsAreSaidAndAllowedWhereWanted() async throws {
        let authority = try CertificateAuthority.create(commonName: "nobody's")
        let issued = try authority.issue(commonName: "registry.example", dnsNames: ["registry.example"])
        let content = registry
        let server = HTTPServer(
            HTTPServerConfiguration(
                .address(host: "127.0.0.1", port: 0),
                security: .tls(
                    certificatePEM: issued.certificatePEM, privateKeyPEM: issued.privateKeyPEM, clientCAPEM: nil))
        ) { request in
            content.content(request.target).map { HTTPResponse(contentType: "application/json", bytes: $0) }
                ?? HTTPResponse(status: 404)
        }
        let (ports, found) = AsyncStream<Int>.makeStream()
        let serving = Task { try await server.run { found.yield($0.port ?? 0) } }
        defer { serving.cancel() }
        var iterator = ports.makeAsyncIterator()
        let port = try #require(await iterator.next())
        let proxy = try TinyProxy(to: UInt16(port))
        let message = try await failure(RegistrySettings(proxies: proxies(proxy.port)))
        #expect(message.contains("certificate"), "\(message)")
        #expect(message.contains("update-ca-certificates") && message.contains("--insecure-registry"), "\(message)")
        let allowed = store(RegistrySettings(insecure: ["registry.example"], proxies: proxies(proxy.port)))
        #expect(try await allowed.pull("registry.example/a:1").repoTags == ["registry.example/a:1"])
        // The loopback's registries may speak either.
        let own = store(RegistrySettings())
        #expect(try await own.pull("localhost:\(port)/a:1").repoTags.contains("localhost:\(port)/a:1"))
    }

    @Test func aNameThatNobodyKnowsIsSaid() async throws {
        let message = try await failure(RegistrySettings(), "nowhere.invalid/a:1")
        #expect(message.contains("nowhere.invalid cannot be resolved"), "\(message)")
    }

    /// As a node does it: its own loopback is not the machine's.
    @Test func anotherNetworksLoopbackIsReached() async throws {
        let pin = scratch.path + "/net"
        try Namespaces.createPinned([.net: pin]) { try NetlinkSocket().setUp("lo") }
        defer { try? Namespaces.unpin(pin) }
        let inside = try Namespaces.inNamespaces(net: .path(pin)) { try TinyRegistry() }
        var layer = Tar()
        layer.add("file", content: Array("inside".utf8))
        try await inside.push(try await TestImage([layer.finished]), "b", tag: "1")
        let store = store(RegistrySettings(network: .path(pin)))
        #expect(try await store.pull("localhost:\(inside.port)/b:1").repoTags == ["localhost:\(inside.port)/b:1"])
        #expect(try await failure(RegistrySettings(), "127.0.0.1:\(inside.port)/b:1").contains("refused"))
    }

    /// Bytes that go on coming are no reason to go on waiting.
    @Test(arguments: ["/manifests/", "/blobs/", "/token"]) func documentsHaveATotalLimitOfTime(what: String)
        async throws
    {
        let host = registry.host
        registry.handle { request in
            if request.target.contains(what) { return TinyRegistry.Answer(status: "200 OK", drips: true) }
            guard what == "/token" else { return nil }
            return TinyRegistry.Answer(
                status: "401 Unauthorized", headers: [("WWW-Authenticate", "Bearer realm=\"http://\(host)/token\"")])
        }
        var settings = RegistrySettings()
        settings.patience = .milliseconds(300)
        let message = try await failure(settings, "\(host)/a:1")
        #expect(message.contains("did not come to an end"), "\(message)")
    }
}
