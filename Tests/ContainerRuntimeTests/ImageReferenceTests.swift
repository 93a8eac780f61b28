// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Testing
import Values

@Suite struct ImageReferenceTests {
    private static let digest = "sha256:" + String(repeating: "ab", count: 32)

    @Test(arguments: [
        ("busybox", "docker.io/library/busybox:latest", "registry-1.docker.io"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "registry-1.docker.io"),
        ("calico/ctl:v3.20.0", "docker.io/calico/ctl:v3.20.0", "registry-1.docker.io"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "registry-1.docker.io"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "registry-1.docker.io"),
        ("localhost/a", "localhost/a:latest", "localhost"),
        ("localhost:5000/a/b/c:t", "localhost:5000/a/b/c:t", "localhost:5000"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000"),
        ("quay.io/a__b/c--d.e", "quay.io/a__b/c--d.e:latest", "quay.io"),
        ("registry.k8s.io/pause@\(digest)", "registry.k8s.io/pause@\(digest)", "registry.k8s.io"),
        ("a:t@\(digest)", "docker.io/library/a:t@\(digest)", "registry-1.docker.io"),
    ])
    func names(text: String, complete: String, host: String) throws {
        let reference = try ImageReference(text)
        #expect(reference.description == complete)
        #expect(reference.registryHost == host)
        #expect(try ImageReference(complete) == reference)
    }

    @Test(arguments: [
        "", "Busybox", "a:", ":t", "a:b:c", "a/", "/a", "a//b", "-a", "a-", "a___b", "a..b", "a@sha256:12", "a@md5:aa",
        "a b", "host:99999/a", "host:0/a", "ho_st.x/a", "a:.t", "a:-t", "http://a/b", "a\u{0}b", "docker.io/",
        "a:" + String(repeating: "t", count: 129), String(repeating: "a", count: 300), "é",
    ])
    func refused(text: String) {
        let error = #expect(throws: ImageError.self) { try ImageReference(text) }
        #expect(error?.kind == .invalidName)
        #expect(error?.message.contains("invalid reference format") == true)
    }

    @Test func credentialsAreFoundByHostAndPath() throws {
        let config = DockerConfig([
            "auths": [
                "https://index.docker.io/v1/": ["auth": "aHViOnB3"], "quay.io": ["username": "q", "password": "p"],
                "quay.io/team": ["username": "team", "password": "p"],
                "*.example.com": ["username": "w", "password": "p"],
                "empty.io": [:],
            ],
            "credHelpers": ["gcr.io": "gcloud"],
        ])
        func user(_ image: String) throws -> String? {
            let reference = try ImageReference(image)
            return RegistryCredential.matching(reference, among: config.credentials).first?.username
        }
        #expect(try user("busybox") == "hub")
        #expect(try user("quay.io/other/a") == "q")
        #expect(try user("quay.io/team/a") == "team")
        #expect(try user("quay.io/teammate/a") == "q")
        #expect(try user("r.example.com/a") == "w")
        #expect(try user("a.r.example.com/a") == nil)
        #expect(try user("empty.io/a") == nil)
        #expect(config.helpers == ["gcr.io": "gcloud"])
    }

    @Test func challengesAreReadWithQuotedCommas() {
        let all = AuthenticationChallenge.parse(
            #"Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push", Basic realm="x""#)
        #expect(all.map(\.scheme) == ["bearer", "basic"])
        #expect(all.first?.parameters["scope"] == "repository:a/b:pull,push")
        #expect(all.last?.parameters == ["realm": "x"])
        #expect(AuthenticationChallenge.parse("Basic").map(\.scheme) == ["basic"])
        #expect(AuthenticationChallenge.parse(#"="",,"""#).isEmpty)
    }
}
