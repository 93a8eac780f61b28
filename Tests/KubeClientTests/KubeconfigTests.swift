// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeClient
import Testing
import Values

@Suite struct KubeconfigTests {
    private static let yaml = """
        apiVersion: v1
        kind: Config
        current-context: lab
        clusters:
        - name: lab
          cluster:
            server: https://192.168.49.2:8443
            certificate-authority-data: Q0E=
        - name: other
          cluster: {server: "https://other", insecure-skip-tls-verify: true, tls-server-name: kubernetes}
        users:
        - name: lab
          user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}
        - name: bearer
          user:
            token: secret
        - name: cloud
          user: {exec: {command: get-token}}
        contexts:
        - {name: lab, context: {cluster: lab, user: lab, namespace: shop}}
        - {name: other, context: {cluster: other, user: bearer}}
        - {name: cloud, context: {cluster: lab, user: cloud}}
        - {name: broken, context: {cluster: gone, user: lab}}
        """

    @Test func theCurrentContextOrTheOneNamedIsUsed() throws {
        let config = try Kubeconfig(text: Self.yaml)
        #expect(config.contextNames == ["broken", "cloud", "lab", "other"])
        let lab = try config.configuration()
        #expect(lab.server == "https://192.168.49.2:8443" && lab.caPEM == "CA" && lab.namespace == "shop")
        #expect(lab.certificatePEM == "CERT" && lab.privateKeyPEM == "KEY" && lab.token == nil)
        let other = try config.configuration(context: "other")
        #expect(other.insecureSkipTLSVerify && other.tlsServerName == "kubernetes" && other.token == "secret")
        #expect(other.namespace == nil && other.caPEM == nil)
    }

    @Test func itMayBeJSON() throws {
        let json: JSON = [
            "current-context": "a", "clusters": [["name": "a", "cluster": ["server": "https://a"]]],
            "contexts": [["name": "a", "context": ["cluster": "a"]]],
        ]
        #expect(try Kubeconfig(text: json.text()).configuration().server == "https://a")
    }

    @Test func mistakesNameTheirPlace() throws {
        let config = try Kubeconfig(text: Self.yaml, file: "/home/me/config")
        func message(_ body: () throws -> Void) -> String {
            do {
                try body()
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(
            message { _ = try config.configuration(context: "lba") }
                == "the kubeconfig has no context 'lba'; it has: broken, cloud, lab, other")
        #expect(
            message { _ = try config.configuration(context: "broken") }
                == "/home/me/config: context 'broken' names cluster 'gone', which is not there")
        #expect(message { _ = try config.configuration(context: "cloud") }.contains("'exec', which is not supported"))
        #expect(
            message { _ = try Kubeconfig(text: "- 1", file: "f") }
                == "f is no kubeconfig: it holds array, not an object")
        #expect(
            message { _ = try Kubeconfig(text: "clusters: 1", file: "f") } == "f: 'clusters' is integer, not a list")
        #expect(message { _ = try Kubeconfig(text: "users: [{}]", file: "f") } == "f: users[0] has no name")
        #expect(message { _ = try Kubeconfig(text: "a: [", file: "f") }.hasPrefix("f is no kubeconfig: "))
        let half = Self.yaml.replacing(", client-key-data: S0VZ", with: "")
        #expect(
            message { _ = try Kubeconfig(text: half, file: "f").configuration() }
                == "f: user 'lab' has only one of client-certificate and client-key; both are needed")
        let garbled = Self.yaml.replacing("Q0E=", with: "a.b")
        #expect(
            message { _ = try Kubeconfig(text: garbled, file: "f").configuration() }
                == "f: cluster 'lab': certificate-authority-data is no text in Base64")
    }

    @Test func pathsAreRelativeToTheirFileAndTheFirstOfSeveralFilesWins() throws {
        let folder = "/tmp/catbird-kubeconfig-\(UInt64.random(in: 0 ... .max))"
        mkdir(folder, 0o700)
        let names = ["one", "two", "ca.crt"]
        defer {
            for name in names { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }
        let one = "clusters: [{name: a, cluster: {server: 'https://one', certificate-authority: ca.crt}}]\n"
        let two = """
            current-context: x
            clusters: [{name: a, cluster: {server: 'https://two'}}]
            contexts: [{name: x, context: {cluster: a}}]

            """
        for (name, text) in zip(names, [one, two, "CA!"]) {
            let file = open("\(folder)/\(name)", O_WRONLY | O_CREAT, 0o600)
            #expect(Glibc.write(file, text, text.utf8.count) == text.utf8.count)
            close(file)
        }
        let found = try ClientConfiguration.discover(
            environment: ["KUBECONFIG": "\(folder)/missing:\(folder)/one:\(folder)/two", "HOME": "/nowhere"])
        #expect(found.server == "https://one" && found.caPEM == "CA!")
        #expect(try ClientConfiguration.discover(kubeconfig: "\(folder)/two", environment: [:]).server == "https://two")
    }

    @Test func withoutAnyTheErrorSaysWhereItLooked() {
        let error = #expect(throws: ClientConfigurationError.self) {
            try ClientConfiguration.discover(environment: ["HOME": "/nowhere"])
        }
        #expect(
            error?.message.hasPrefix("no cluster to talk to: there is no /nowhere/.kube/config, and this is no pod")
                == true)
    }

    @Test func aPodFindsItsServerAndToken() throws {
        let folder = "/tmp/catbird-sa-\(UInt64.random(in: 0 ... .max))"
        mkdir(folder, 0o700)
        let files = ["token": "t\n", "ca.crt": "CA", "namespace": "kube-system\n"]
        defer {
            for name in files.keys { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }
        for (name, text) in files {
            let file = open("\(folder)/\(name)", O_WRONLY | O_CREAT, 0o600)
            #expect(Glibc.write(file, text, text.utf8.count) == text.utf8.count)
            close(file)
        }
        let found = try ClientConfiguration.inCluster(
            environment: ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"],
            serviceAccount: folder)
        #expect(found.server == "https://[fd00::1]:443" && found.caPEM == "CA" && found.tokenFile == folder + "/token")
        #expect(found.namespace == "kube-system")
    }

    /// Whatever bytes are changed, the parser answers with a configuration or an error that names the file; it never
    /// traps.
    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func noTextTrapsTheParser(seed: UInt64) {
        var state = seed
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let original = Array(Self.yaml.utf8)
        let pieces = [
            "{", "}", "[", "]", ":", "-", "\n", "&a", "*a", "!!binary", "'", "\"", "|", ">", "\0", "\u{FFFD}", "<<: ",
        ]
        for _ in 0..<400 {
            var bytes = original
            for _ in 0...random(6) {
                let place = random(bytes.count)
                switch random(4) {
                case 0: bytes[place] = UInt8(random(256))
                case 1: bytes.removeSubrange(place..<min(bytes.count, place + 1 + random(30)))
                case 2: bytes.insert(contentsOf: pieces[random(pieces.count)].utf8, at: place)
                default:
                    bytes.insert(
                        contentsOf: bytes[place..<min(bytes.count, place + random(60))], at: random(bytes.count))
                }
                if bytes.isEmpty { bytes = original }
            }
            do {
                let config = try Kubeconfig(text: String(decoding: bytes, as: UTF8.self), file: "f")
                for name in config.contextNames { _ = try? config.configuration(context: name) }
                _ = try? config.configuration()
            } catch {
                #expect(error is ClientConfigurationError && "\(error)".hasPrefix("f"), "\(error)")
            }
        }
    }
}
