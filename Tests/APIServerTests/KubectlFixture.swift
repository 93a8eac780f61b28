// SPDX-License-Identifier: Apache-2.0

import APIServer
import APIServerTesting
import Foundation
import KubeClient
import KubeObjects
import PKI
import Storage
import Synchronization
import Values

/// A server over HTTPS on the loopback address, with a kubeconfig for its administrator.
final class HTTPSFixture: Sendable {
    let server: APIServer
    let client: KubeClient
    let directory: String
    let port: Int
    let authority: CertificateAuthority
    private let task: Task<Void, any Error>

    init() async throws {
        authority = try CertificateAuthority.create(commonName: "test-ca")
        let serving = try authority.issue(
            commonName: "kube-apiserver", dnsNames: ["localhost"], ipAddresses: [IPAddress(127, 0, 0, 1)])
        let server = APIServer(
            storage: try await BootstrappedStorage.copy(),
            configuration: APIServerConfiguration(
                tokenSigner: .create(), clientCAPEM: authority.certificatePEM,
                certificatePEM: serving.certificatePEM, privateKeyPEM: serving.privateKeyPEM,
                bindHost: "127.0.0.1", bindPort: 0, compactionInterval: nil))
        self.server = server
        client = KubeClient(server.inProcessTransport(user: "admin", groups: ["system:masters"]))
        try await server.bootstrap()
        _ = try await client.create(
            .serviceAccounts,
            KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default"))
        let (ports, found) = AsyncStream<Int>.makeStream()
        task = Task { try await server.run { found.yield($0) } }
        var iterator = ports.makeAsyncIterator()
        port = await iterator.next() ?? 0
        directory = NSTemporaryDirectory() + "catbird-api-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let admin = try authority.issue(commonName: "catbird-admin", organizations: ["system:masters"])
        try writeKubeconfig("admin", certificate: admin.certificatePEM, key: admin.privateKeyPEM)
    }

    func stop() async {
        task.cancel()
        _ = await task.result
        try? FileManager.default.removeItem(atPath: directory)
    }

    func writeKubeconfig(_ name: String, certificate: String, key: String) throws {
        func base64(_ text: String) -> JSON { JSON(Base64.text(Array(text.utf8))) }
        let config: JSON = [
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [
                [
                    "name": "test",
                    "cluster": [
                        "server": "https://127.0.0.1:\(port)",
                        "certificate-authority-data": base64(authority.certificatePEM),
                    ],
                ]
            ],
            "users": [
                [
                    "name": "test",
                    "user": [
                        "client-certificate-data": base64(certificate), "client-key-data": base64(key),
                    ],
                ]
            ],
            "contexts": [["name": "test", "context": ["cluster": "test", "user": "test"]]],
        ]
        try Data(config.serialized()).write(to: URL(fileURLWithPath: "\(directory)/\(name).kubeconfig"))
    }

    struct Output: Sendable {
        var status: Int32
        var text: String
        var errors: String
    }

    /// The kubectl on the PATH; nil when there is none.
    static let kubectl: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        .map { "\($0)/kubectl" }.first { FileManager.default.isExecutableFile(atPath: $0) }

    func kubectl(_ arguments: String..., input: String? = nil, user: String = "admin") async throws -> Output {
        try await run(
            Self.kubectl ?? "/usr/bin/kubectl", ["--kubeconfig", "\(directory)/\(user).kubeconfig"] + arguments,
            input: input)
    }

    /// Runs a program; one without a path is looked for in /usr/bin.
    func run(_ program: String, _ arguments: [String], input: String? = nil) async throws -> Output {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program.contains("/") ? program : "/usr/bin/\(program)")
        process.arguments = arguments
        process.environment = ["HOME": directory, "PATH": "/usr/bin:/bin"]
        let out = "\(directory)/\(UUID().uuidString)"
        for suffix in ["out", "err", "in"] {
            _ = FileManager.default.createFile(
                atPath: "\(out).\(suffix)", contents: suffix == "in" ? Data((input ?? "").utf8) : nil)
        }
        process.standardOutput = FileHandle(forWritingAtPath: "\(out).out")
        process.standardError = FileHandle(forWritingAtPath: "\(out).err")
        process.standardInput = FileHandle(forReadingAtPath: "\(out).in")
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            process.terminationHandler = { _ in continuation.resume() }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        func read(_ suffix: String) -> String {
            String(decoding: FileManager.default.contents(atPath: "\(out).\(suffix)") ?? Data(), as: UTF8.self)
        }
        return Output(status: process.terminationStatus, text: read("out"), errors: read("err"))
    }
}
