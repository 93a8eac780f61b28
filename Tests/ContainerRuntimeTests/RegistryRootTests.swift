// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import Linux
import Synchronization
import Testing
import Values

@Suite(.enabled(if: geteuid() == 0)) struct RegistryRootTests {
    private let scratch: Scratch
    private let registry: TinyRegistry
    private let store: ImageStore

    init() throws {
        scratch = try Scratch()
        registry = try TinyRegistry()
        store = ImageStore(root: scratch.path + "/images", registries: RegistrySettings())
    }

    private func image(_ text: String = "hello", architecture: String = TestImage.machine) async throws -> TestImage {
        var layer = Tar()
        layer.add("file", content: Array(text.utf8))
        return try await TestImage([layer.finished], architecture: architecture)
    }

    private func pullFails(_ name: String, _ kind: ImageError.Kind, _ words: String...) async throws {
        let store = store
        let error = await #expect(throws: ImageError.self) { _ = try await store.pull(name) }
        #expect(error?.kind == kind)
        for word in words { #expect(error?.message.contains(word) == true, "\(error?.message ?? "")") }
        #expect(store.list().isEmpty)
        #expect((try? Files.list(store.root + "/tmp"))?.isEmpty ?? true)
    }

    @Test func aTagIsPulledOnceAndFollowed() async throws {
        let (digest, _) = try await registry.push(try await image(), "team/app", tag: "v1")
        let name = "\(registry.host)/team/app:v1"
        let pulled = try await store.pull(name)
        #expect(pulled.reference == name)
        #expect(pulled.repoDigests == ["\(registry.host)/team/app@\(digest)"])
        #expect(try Files.text(try #require(pulled.layerPaths.first) + "/file") == "hello")
        registry.requests.withLock { $0 = [] }
        #expect(try await store.pull(name).id == pulled.id)
        #expect(registry.requests.withLock { $0.map(\.target) } == ["/v2/team/app/manifests/v1"])
        #expect(try await store.pull("\(registry.host)/team/app@\(digest)").id == pulled.id)
        #expect(registry.requests.withLock { $0.count } == 1)
        try await registry.push(try await image("changed"), "team/app", tag: "v1")
        let newer = try await store.pull(name)
        #expect(newer.id != pulled.id)
        #expect(store.image(name)?.id == newer.id)
    }

    @Test func whoPullsTogetherPullsOnce() async throws {
        try await registry.push(try await image(), "a", tag: "1")
        let name = "\(registry.host)/a:1"
        async let first = store.pull(name)
        async let second = store.pull(name)
        #expect(try await first.id == second.id)
        #expect(registry.requests.withLock { $0.filter { $0.target.contains("/blobs/") }.count } == 2)
    }

    @Test func theImageOfThisMachineIsChosen() async throws {
        let (own, _) = try await registry.push(try await image(), "a")
        let (other, _) = try await registry.push(try await image("x", architecture: "s390x"), "a")
        func index(_ entries: [(String, String)]) -> [UInt8] {
            JSON.object([
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": .array(
                    entries.map { ["digest": JSON($0.0), "platform": ["os": "linux", "architecture": JSON($0.1)]] }),
            ]).serialized()
        }
        let type = "application/vnd.oci.image.index.v1+json"
        registry.put("/v2/a/manifests/all", index([(other, "s390x"), (own, TestImage.machine)]), type: type)
        registry.put("/v2/a/manifests/foreign", index([(other, "s390x"), (other, "ppc64le")]), type: type)
        registry.put(
            "/v2/a/manifests/unmarked", try #require(registry.content("/v2/a/manifests/\(other)")), type: type)
        try await pullFails("\(registry.host)/a:foreign", .wrongArchitecture, "linux/s390x", "linux/ppc64le")
        try await pullFails("\(registry.host)/a:unmarked", .wrongArchitecture, "linux/s390x")
        let pulled = try await store.pull("\(registry.host)/a:all")
        #expect(try Files.text(try #require(pulled.layerPaths.first) + "/file") == "hello")
    }

    @Test func tokensAreFetchedWithTheCredentialsThatFit() async throws {
        try await registry.push(try await image(), "private/app", tag: "1")
        let host = registry.host
        registry.handle { request in
            if request.target.hasPrefix("/token?") {
                guard request.headers["authorization"] == "Basic " + Base64.text(Array("user:secret".utf8)),
                    request.target.contains("scope=repository%3Aprivate%2Fapp%3Apull"),
                    request.target.contains("service=r")
                else { return TinyRegistry.Answer(status: "401 Unauthorized") }
                return TinyRegistry.Answer(status: "200 OK", body: Array(#"{"token":"t0k"}"#.utf8))
            }
            if request.headers["authorization"] == "Bearer t0k" { return nil }
            return TinyRegistry.Answer(
                status: "401 Unauthorized",
                headers: [
                    (
                        "WWW-Authenticate",
                        "Bearer realm=\"http://\(host)/token\",service=\"r\",scope=\"repository:private/app:pull\""
                    )
                ])
        }
        let name = "\(host)/private/app:1"
        try await pullFails(name, .unauthorized, host, "docker login", "imagePullSecrets")
        let wrong = RegistryCredential(registry: host, username: "user", password: "wrong")
        let error = await #expect(throws: ImageError.self) { _ = try await store.pull(name, credentials: [wrong]) }
        #expect(error?.message.contains("refuses the credentials of \"user\"") == true)
        let right = RegistryCredential(registry: host, username: "user", password: "secret")
        #expect(try await store.pull(name, credentials: [right]).reference == name)
    }

    @Test func basicCredentialsComeFromDockersConfiguration() async throws {
        try await registry.push(try await image(), "a", tag: "1")
        registry.handle { request in
            if request.headers["authorization"] == "Basic " + Base64.text(Array("u:p".utf8)) { return nil }
            return TinyRegistry.Answer(status: "401 Unauthorized", headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
        }
        let auth = Base64.text(Array("u:p".utf8))
        let config = try scratch.write("config.json", #"{"auths":{"\#(registry.host)":{"auth":"\#(auth)"}}}"#)
        let with = ImageStore(root: store.root, registries: RegistrySettings(dockerConfigPath: config))
        #expect(try await with.pull("\(registry.host)/a:1").repoTags == ["\(registry.host)/a:1"])
        try with.remove("\(registry.host)/a:1")
        let helper = try scratch.write("helper.json", #"{"credHelpers":{"\#(registry.host)":"secretservice"}}"#)
        let without = ImageStore(root: store.root, registries: RegistrySettings(dockerConfigPath: helper))
        let error = await #expect(throws: ImageError.self) { _ = try await without.pull("\(registry.host)/a:1") }
        #expect(error?.kind == .unauthorized)
        #expect(error?.message.contains("docker-credential-secretservice") == true)
    }

    @Test func failuresAreToldApart() async throws {
        try await pullFails("\(registry.host)/no/such:1", .notFound, "no/such:1", registry.host, "check the name")
        let closed = try TinyRegistry().port
        try await pullFails("127.0.0.1:\(closed)/a:1", .unreachable, "127.0.0.1:\(closed)", "catbird image load")
        try await pullFails("Upper/Case", .invalidName, "lowercase")
        registry.handle { _ in TinyRegistry.Answer(status: "503 Service Unavailable") }
        try await pullFails("\(registry.host)/a:1", .unreachable, "503")
        registry.handle { _ in TinyRegistry.Answer(status: "429 Too Many Requests") }
        try await pullFails("\(registry.host)/a:1", .other, "429")
    }

    @Test func whatDoesNotMatchItsDigestIsRefused() async throws {
        let (_, layers) = try await registry.push(try await image(), "a", tag: "1")
        let target = "/v2/a/blobs/\(layers[0])"
        let good = try #require(registry.content(target))
        registry.handle { request in
            guard request.target == target else { return nil }
            return TinyRegistry.Answer(status: "200 OK", body: Array(good.reversed()))
        }
        try await pullFails("\(registry.host)/a:1", .corrupt, "another content")
        registry.handle { request in
            guard request.target == target else { return nil }
            return TinyRegistry.Answer(status: "200 OK", body: good, cutAfter: 20)
        }
        try await pullFails("\(registry.host)/a:1", .unreachable, "broke")
        registry.handle { request in
            guard request.target == target else { return nil }
            return TinyRegistry.Answer(status: "200 OK", body: good + [1, 2, 3])
        }
        try await pullFails("\(registry.host)/a:1", .corrupt, "longer")
        registry.handle { request in
            request.target.contains("/manifests/") ? TinyRegistry.Answer(status: "200 OK", body: Array("{".utf8)) : nil
        }
        try await pullFails("\(registry.host)/a:1", .corrupt, "manifest cannot be read")
    }

    @Test func mirrorsAreAskedFirstAndTheRegistryHasTheLastWord() async throws {
        let mirror = try TinyRegistry()
        try await mirror.push(try await image("mirrored"), "a", tag: "1")
        try await registry.push(try await image("original"), "a", tag: "1")
        try await registry.push(try await image("original"), "a", tag: "2")
        let mirrored = ImageStore(
            root: store.root, registries: RegistrySettings(mirrors: [registry.host: ["http://\(mirror.host)"]]))
        let first = try await mirrored.pull("\(registry.host)/a:1")
        #expect(try Files.text(try #require(first.layerPaths.first) + "/file") == "mirrored")
        let second = try await mirrored.pull("\(registry.host)/a:2")
        #expect(try Files.text(try #require(second.layerPaths.first) + "/file") == "original")
    }

    @Test func settingsAreReadFromFiles() throws {
        let own = try scratch.write("r.json", #"{"mirrors":{"quay.io":["https://m"]},"insecure":["r:1"]}"#)
        let docker = try scratch.write("d.json", #"{"registry-mirrors":["https://hub"],"insecure-registries":["d:2"]}"#)
        let settings = RegistrySettings.ofThisMachine(catbirdFile: own, dockerFile: docker)
        #expect(settings.mirrors == ["quay.io": ["https://m"], "docker.io": ["https://hub"]])
        #expect(settings.insecure == ["r:1", "d:2"])
    }

    @Test func builtinImagesStandInForOriginalsUnlessSwitchedOff() async throws {
        try await store.installBuiltins(from: RuntimeFixture.sources)
        let names = try Files.list(store.root + "/layers").map(\.name)
        let standIn = try await store.pull("calico/ctl:v3.20.0")
        #expect(standIn.standsInFor == "docker.io/calico/ctl:v3.20.0")
        #expect(standIn.reference == "docker.io/catbird/ctl:v1")
        #expect(store.image("quay.io/calico/ctl:v3.1")?.id == standIn.id)
        #expect(store.image("ifilyaninitmo/itdt-contained-frontend:master")?.standsInFor != nil)
        #expect(store.image("catbird/node")?.standsInFor == nil)
        #expect(store.image("catbird/node:anything")?.entrypoint == ["/usr/bin/catbird", "agent"])
        let layers = standIn.layerPaths
        #expect(layers.contains { (try? Files.target(ofLink: $0 + "/calicoctl")) == "/usr/bin/catbird" })
        #expect(layers.contains { Files.exists($0 + "/usr/bin/catbird-cni") })
        let off = ImageStore(root: store.root, usesStandIns: false, registries: RegistrySettings())
        #expect(off.image("calico/ctl:v3.20.0") == nil)
        #expect(off.image("catbird/ctl") != nil)
        // Again: nothing new. Another program: its layers alone are made anew, the old ones go.
        try await store.installBuiltins(from: RuntimeFixture.sources)
        #expect(try Files.list(store.root + "/layers").map(\.name) == names)
        var sources = RuntimeFixture.sources
        sources.catbird = "/usr/bin/gzip"
        try await store.installBuiltins(from: sources)
        let after = try Files.list(store.root + "/layers").map(\.name)
        #expect(after.count == names.count)
        #expect(Set(after).intersection(names).count == names.count - 1)
        #expect(
            store.image("catbird/node")?.layerPaths.contains { Files.exists($0 + "/lib64/ld-linux-x86-64.so.2") }
                == true)
        #expect(store.list().count == 5)
    }
}
