// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import PKI
import Testing
import Values

/// The real kubectl against the server over HTTPS.
@Suite(.enabled(if: HTTPSFixture.kubectl != nil, "no kubectl on the PATH")) struct KubectlTests {
    private static let manifest = """
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: web
        spec:
          replicas: 2
          selector:
            matchLabels: {app: web}
          template:
            metadata:
              labels: {app: web}
            spec:
              containers:
              - name: web
                image: busybox
        ---
        apiVersion: v1
        kind: Service
        metadata:
          name: web
        spec:
          type: NodePort
          selector: {app: web}
          ports:
          - port: 80
        """

    @Test func applyCreatesChangesAndLeavesAlone() async throws {
        let fixture = try await HTTPSFixture()
        let created = try await fixture.kubectl("apply", "-f", "-", input: Self.manifest)
        #expect(created.status == 0, "\(created.errors)")
        #expect(created.text == "deployment.apps/web created\nservice/web created\n")
        let again = try await fixture.kubectl("apply", "-f", "-", input: Self.manifest)
        #expect(again.text == "deployment.apps/web unchanged\nservice/web unchanged\n")
        let more = Self.manifest.replacing("replicas: 2", with: "replicas: 3")
        let changed = try await fixture.kubectl("apply", "-f", "-", input: more)
        #expect(changed.text == "deployment.apps/web configured\nservice/web unchanged\n")
        let table = try await fixture.kubectl("get", "deployment", "web", "--no-headers")
        #expect(table.text.split(separator: " ").prefix(2) == ["web", "0/3"])
        let wrong = Self.manifest.replacing("replicas:", with: "replica:")
        let refused = try await fixture.kubectl("apply", "-f", "-", input: wrong)
        #expect(refused.status == 1)
        #expect(refused.errors.contains("unknown field \"spec.replica\""))
        let deleted = try await fixture.kubectl("delete", "deployment/web", "service/web")
        #expect(deleted.status == 0, "\(deleted.errors)")
        await fixture.stop()
    }

    @Test func replicationControllersAreShownAndScaled() async throws {
        let fixture = try await HTTPSFixture()
        let made = try await fixture.kubectl(
            "apply", "-f", "-",
            input: """
                apiVersion: v1
                kind: ReplicationController
                metadata: {name: web}
                spec:
                  replicas: 2
                  template:
                    metadata: {labels: {app: web}}
                    spec: {containers: [{name: main, image: "busybox:1"}]}
                """)
        #expect(made.text == "replicationcontroller/web created\n", "\(made.errors)")
        let scaled = try await fixture.kubectl("scale", "rc/web", "--replicas=3")
        #expect(scaled.text == "replicationcontroller/web scaled\n", "\(scaled.errors)")
        let table = try await fixture.kubectl("get", "rc", "-o", "wide")
        let rows = table.text.split(separator: "\n").map { $0.split(separator: " ") }
        #expect(
            rows.first == ["NAME", "DESIRED", "CURRENT", "READY", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"],
            "\(table.errors)")
        #expect(rows.last?.prefix(4) == ["web", "3", "0", "0"])
        #expect(rows.last?.suffix(3) == ["main", "busybox:1", "app=web"])
        let description = try await fixture.kubectl("describe", "rc", "web")
        for line in ["Selector:     app=web", "Replicas:     0 current / 3 desired"] {
            #expect(description.text.contains(line), "\(description.text) \(description.errors)")
        }
        await fixture.stop()
    }

    @Test func servicesThatKeepClientsAddressesHaveAPortForHealthChecks() async throws {
        let fixture = try await HTTPSFixture()
        let manifest = """
            apiVersion: v1
            kind: Service
            metadata: {name: web}
            spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}
            """
        let made = try await fixture.kubectl("apply", "-f", "-", input: manifest)
        #expect(made.text == "service/web created\n", "\(made.errors)")
        let port = try await fixture.kubectl("get", "service", "web", "-o", "jsonpath={.spec.healthCheckNodePort}")
        let number = try #require(Int(port.text), "\(port.errors)")
        #expect((30000...32767).contains(number))
        let description = try await fixture.kubectl("describe", "service", "web")
        #expect(description.text.contains(port.text) && description.text.contains("HealthCheck NodePort:"))
        let again = try await fixture.kubectl("apply", "-f", "-", input: manifest)
        #expect(again.text == "service/web unchanged\n", "\(again.errors)")
        let open = manifest.replacing("Local", with: "Cluster")
        let changed = try await fixture.kubectl("apply", "-f", "-", input: open)
        #expect(changed.text == "service/web configured\n", "\(changed.errors)")
        let gone = try await fixture.kubectl("get", "service", "web", "-o", "jsonpath={.spec.healthCheckNodePort}")
        #expect(gone.status == 0 && gone.text.isEmpty)
        await fixture.stop()
    }

    /// Server-side apply as kubectl does it: conflicts, force, and the change from client-side apply to it.
    @Test func applyOnTheServer() async throws {
        let fixture = try await HTTPSFixture()
        let first = try await fixture.kubectl("apply", "--server-side", "-f", "-", input: Self.manifest)
        #expect(
            first.text == "deployment.apps/web serverside-applied\nservice/web serverside-applied\n", "\(first.errors)")
        let version = try await fixture.kubectl(
            "get", "deployment", "web", "-o", "jsonpath={.metadata.resourceVersion}")
        let again = try await fixture.kubectl("apply", "--server-side", "-f", "-", input: Self.manifest)
        #expect(again.status == 0, "\(again.errors)")
        let same = try await fixture.kubectl("get", "deployment", "web", "-o", "jsonpath={.metadata.resourceVersion}")
        #expect(same.text == version.text)
        let more = Self.manifest.replacing("replicas: 2", with: "replicas: 3")
        let other = try await fixture.kubectl(
            "apply", "--server-side", "--field-manager=other", "-f", "-", input: more)
        #expect(other.status == 1 && other.errors.contains(".spec.replicas"), "\(other.errors)")
        let forced = try await fixture.kubectl(
            "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", input: more)
        #expect(forced.status == 0, "\(forced.errors)")
        let replicas = try await fixture.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}")
        #expect(replicas.text == "3")
        // What client-side apply made goes over to the server without a conflict.
        let client = try await fixture.kubectl(
            "apply", "-f", "-",
            input: "kind: ConfigMap\napiVersion: v1\nmetadata: {name: moved}\ndata: {a: '1', b: '2'}\n")
        #expect(client.status == 0, "\(client.errors)")
        let moved = try await fixture.kubectl(
            "apply", "--server-side", "-f", "-",
            input: "kind: ConfigMap\napiVersion: v1\nmetadata: {name: moved}\ndata: {a: '3'}\n")
        #expect(moved.status == 0, "\(moved.errors)")
        let data = try await fixture.kubectl("get", "cm", "moved", "-o", "jsonpath={.data}")
        #expect(data.text == "{\"a\":\"3\"}")
        let diff = try await fixture.kubectl(
            "diff", "--server-side", "-f", "-",
            input: "kind: ConfigMap\napiVersion: v1\nmetadata: {name: moved}\ndata: {a: '4'}\n")
        #expect(diff.status == 1 && diff.text.contains("+  a: \"4\""), "\(diff.text)\(diff.errors)")
        await fixture.stop()
    }

    @Test func typedCommandsSpeakProtobuf() async throws {
        let fixture = try await HTTPSFixture()
        let made = try await fixture.kubectl("create", "deployment", "web", "--image=busybox", "--replicas=2")
        #expect(made.text == "deployment.apps/web created\n", "\(made.errors)")
        let scaled = try await fixture.kubectl("scale", "deployment/web", "--replicas=4", "--current-replicas=2")
        #expect(scaled.text == "deployment.apps/web scaled\n", "\(scaled.errors)")
        let exposed = try await fixture.kubectl("expose", "deployment", "web", "--port=80")
        #expect(exposed.status == 0, "\(exposed.errors)")
        let token = try await fixture.kubectl("create", "token", "default")
        #expect(token.text.split(separator: ".").count == 3, "\(token.errors)")
        let may = try await fixture.kubectl("auth", "can-i", "delete", "nodes")
        #expect(may.text == "yes\n")
        let described = try await fixture.kubectl("describe", "deployment", "web")
        #expect(described.text.contains("Replicas:               4 desired"), "\(described.text)")
        await fixture.stop()
    }

    /// Large answers come packed to those who ask, and are the same.
    @Test func largeAnswersArePacked() async throws {
        let fixture = try await HTTPSFixture()
        let token = try await fixture.kubectl("create", "token", "default").text.filter { !$0.isWhitespace }
        func sizes(_ arguments: String...) async throws -> [String] {
            let output = try await fixture.run(
                "curl",
                [
                    "-sk", "-H", "Authorization: Bearer \(token)", "-o", "/dev/null", "-w",
                    "%{size_download} %header{content-encoding}",
                ]
                    + arguments + ["https://127.0.0.1:\(fixture.port)/openapi/v2"])
            return output.text.split(separator: " ").map(String.init)
        }
        let plain = try await sizes()
        let packed = try await sizes("-H", "Accept-Encoding: gzip")
        let refused = try await sizes("-H", "Accept-Encoding: gzip;q=0")
        #expect(plain.count == 1)
        #expect(packed.last == "gzip")
        #expect((Int(packed.first ?? "") ?? .max) * 4 < Int(plain.first ?? "") ?? 0, "\(packed) of \(plain)")
        #expect(refused == plain)
        let read = try await fixture.run(
            "sh",
            [
                "-c",
                "curl -sk --compressed -H 'Authorization: Bearer \(token)' https://127.0.0.1:\(fixture.port)/openapi/v2 | wc -c",
            ])
        #expect(read.text.filter { !$0.isWhitespace } == plain.first)
        await fixture.stop()
    }

    @Test func certificatesSayWhoCalls() async throws {
        let fixture = try await HTTPSFixture()
        let bob = try fixture.authority.issue(commonName: "bob", organizations: ["dev"])
        try fixture.writeKubeconfig("bob", certificate: bob.certificatePEM, key: bob.privateKeyPEM)
        let refused = try await fixture.kubectl("get", "pods", user: "bob")
        #expect(refused.status == 1)
        #expect(
            refused.errors.contains(
                "Error from server (Forbidden): pods is forbidden: User \"bob\" cannot list resource \"pods\" in API "
                    + "group \"\" in the namespace \"default\""))
        let other = try CertificateAuthority.create(commonName: "other")
        let foreign = try other.issue(commonName: "catbird-admin", organizations: ["system:masters"])
        try fixture.writeKubeconfig("foreign", certificate: foreign.certificatePEM, key: foreign.privateKeyPEM)
        #expect(try await fixture.kubectl("get", "pods", user: "foreign").status == 1)
        await fixture.stop()
    }

    @Test func poolsAreRefusedWithTheReason() async throws {
        let fixture = try await HTTPSFixture()
        let manifest = """
            apiVersion: crd.projectcalico.org/v1
            kind: IPPool
            metadata:
              name: zone-east-ippool
            spec:
              cidr: 10.244.102.1/24
              nodeSelector: all()
            """
        let alone = try await fixture.kubectl("apply", "-f", "-", input: manifest)
        #expect(alone.status == 0 && alone.errors.contains("Warning: spec.cidr 10.244.102.1/24 has host bits set"))
        let second = manifest.replacing("east", with: "west").replacing("102.1", with: "102.2")
        let refused = try await fixture.kubectl("apply", "-f", "-", input: second)
        #expect(refused.status == 1)
        // kubectl shortens the sentence of the Status.
        #expect(refused.errors.contains("IPPool \"zone-west-ippool\" is invalid: spec.cidr"))
        #expect(refused.errors.contains("is the network of pool zone-east-ippool (10.244.102.0/24)"), "\(refused)")
        await fixture.stop()
    }

    @Test func waitsAndWatchesEnd() async throws {
        let fixture = try await HTTPSFixture()
        _ = try await fixture.kubectl("create", "configmap", "cm", "--from-literal=a=b")
        async let waited = fixture.kubectl("wait", "--for=jsonpath={.data.a}=c", "configmap/cm", "--timeout=30s")
        _ = try await fixture.kubectl("patch", "configmap", "cm", "-p", "{\"data\":{\"a\":\"c\"}}")
        let done = try await waited
        #expect(done.text == "configmap/cm condition met\n", "\(done.errors)")
        await fixture.stop()
    }

    /// `kubectl certificate`, and that whom a certificate names is who it lets in.
    @Test func aCertificateThatWasAskedForLetsItsUserIn() async throws {
        let fixture = try await HTTPSFixture()
        let asked = try CertificateRequest.create(commonName: "jane", organizations: ["dev"])
        func manifest(_ name: String) -> String {
            """
            apiVersion: certificates.k8s.io/v1
            kind: CertificateSigningRequest
            metadata:
              name: \(name)
            spec:
              request: \(Base64.text(Array(asked.requestPEM.utf8)))
              signerName: kubernetes.io/kube-apiserver-client
              usages: [client auth]
            """
        }
        for name in ["jane", "joe"] {
            let made = try await fixture.kubectl("create", "-f", "-", input: manifest(name))
            #expect(made.status == 0, "\(made.errors)")
        }
        let approved = try await fixture.kubectl("certificate", "approve", "jane")
        #expect(approved.text == "certificatesigningrequest.certificates.k8s.io/jane approved\n", "\(approved.errors)")
        let denied = try await fixture.kubectl("certificate", "deny", "joe")
        #expect(denied.text == "certificatesigningrequest.certificates.k8s.io/joe denied\n", "\(denied.errors)")
        let table = try await fixture.kubectl("get", "csr", "--no-headers")
        #expect(table.text.contains("Approved") && table.text.contains("Denied"), "\(table.text)")
        let pem = try fixture.authority.sign(
            CertificateRequest(pem: asked.requestPEM), usages: ["client auth"], seconds: 600)
        try await fixture.client.patch(
            GroupVersionResource("certificates.k8s.io", "v1", "certificatesigningrequests"), "jane", type: .merge,
            ["status": ["certificate": JSON(Base64.text(Array(pem.utf8)))]], subresource: "status")
        let stored = try await fixture.kubectl("get", "csr", "jane", "-o", "jsonpath={.status.certificate}")
        let certificate = try #require(Base64.bytes(stored.text))
        try fixture.writeKubeconfig(
            "jane", certificate: String(decoding: certificate, as: UTF8.self), key: asked.privateKeyPEM)
        let who = try await fixture.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo}", user: "jane")
        #expect(who.text.contains("\"username\":\"jane\"") && who.text.contains("\"dev\""), "\(who.errors)")
        await fixture.stop()
    }
}
