// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import LocalCluster
import PKI
import Testing
import Values
import YAMLCoding

@Suite struct KubeconfigTests {
    private let credentials = IssuedCertificate(certificatePEM: "certificate", privateKeyPEM: "key")

    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = "/tmp/catbird-kubeconfig-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories(folder)
        defer { try? Files.removeTree(folder) }
        try body(folder)
    }

    @Test func leavesOtherEntriesAlone() throws {
        try withFolder { folder in
            let path = "\(folder)/config"
            let before = """
                apiVersion: v1
                kind: Config
                clusters:
                - name: prod
                  cluster: {server: "https://prod", insecure-skip-tls-verify: true}
                contexts:
                - name: prod
                  context: {cluster: prod, user: me, namespace: apps}
                users:
                - name: me
                  user: {token: "12345"}
                current-context: prod
                """
            try Files.replace(path, with: Array(before.utf8))
            let config = Kubeconfig(path: path)
            try config.add(
                profile: "lab", server: "https://1.2.3.4:8443", certificateAuthorityPEM: "ca", credentials: credentials)
            try config.add(
                profile: "lab", server: "https://1.2.3.5:8443", certificateAuthorityPEM: "ca", credentials: credentials)
            let read = try YAML.document(Files.text(path))
            #expect(read["current-context"].string == "lab")
            #expect(read["clusters"].array?.count == 2)
            #expect(
                read["clusters"][0] == [
                    "name": "prod", "cluster": ["server": "https://prod", "insecure-skip-tls-verify": true],
                ])
            #expect(read["clusters"][1]["cluster"]["server"].string == "https://1.2.3.5:8443")
            #expect(read["users"][0]["user"]["token"].string == "12345")
            var info = stat()
            #expect(stat(path, &info) == 0 && info.st_mode & 0o777 == 0o600)
            try config.remove(profile: "lab")
            let after = try YAML.document(Files.text(path))
            #expect(after["clusters"].array?.count == 1 && after["current-context"].string == "")
            #expect(!Files.exists("\(path).lock"))
        }
    }

    @Test func refusesALockedFileAndOneThatIsNotYAML() throws {
        try withFolder { folder in
            let path = "\(folder)/config"
            try Files.replace("\(path).lock", with: [])
            let config = Kubeconfig(path: path)
            #expect(throws: LocalClusterError.self) {
                try config.add(profile: "lab", server: "s", certificateAuthorityPEM: "ca", credentials: credentials)
            }
            unlink("\(path).lock")
            try Files.replace(path, with: Array("a: [".utf8))
            #expect(throws: LocalClusterError.self) {
                try config.add(profile: "lab", server: "s", certificateAuthorityPEM: "ca", credentials: credentials)
            }
            #expect(try Files.text(path) == "a: [")
        }
    }
}
