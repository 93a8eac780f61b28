// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPServing
import Kubelet
import Linux
import NIOCore
import NIOHTTP1
import Testing
import Values

/// The kubectls of this machine: the one in the path, and those that lie beside it.
private let kubectls: [String] = {
    let beside = (27...40).map { "/usr/lib/google-cloud-sdk/bin/kubectl.1.\($0)" }
    let more = (ProcessInfo.processInfo.environment["CATBIRD_KUBECTLS"] ?? "").split(separator: ":").map(String.init)
    return (["/usr/bin/kubectl", "/usr/local/bin/kubectl"] + beside + more).filter { NodeFiles.exists($0) }
}()

/// Real clients speak to the sessions through the real HTTP server, on loopback, with a pod that only echoes.
@Suite("kubectl", .enabled(if: !kubectls.isEmpty, "no kubectl on this machine")) struct KubectlInteropTests {
    static let cache = "/tmp/kubelet-tests-cache-\(getpid())"

    static let pod = """
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default","uid":"u"},
         "spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]}]},"status":{"phase":"Running",
         "containerStatuses":[{"name":"c","image":"i","imageID":"","ready":true,"restartCount":0}]}}
        """

    static func respond(_ request: HTTPRequest) async -> HTTPResponse {
        func json(_ text: String) -> HTTPResponse {
            HTTPResponse(contentType: "application/json", bytes: Array(text.utf8))
        }
        switch request.path {
        case "/api": return json(#"{"kind":"APIVersions","versions":["v1"]}"#)
        case "/apis": return json(#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#)
        case "/api/v1":
            return json(
                #"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"],"shortNames":["po"]}]}"#
            )
        case "/api/v1/namespaces/default/pods/p": return json(pod)
        case "/api/v1/namespaces/default/pods/p/exec": return exec(request)
        case "/api/v1/namespaces/default/pods/p/portforward": return forward(request)
        default: return HTTPResponse(status: 404, text: "none")
        }
    }

    static func upgraded(
        _ headers: [(String, String)], _ body: @escaping @Sendable (ByteTransport) async -> Void
    ) -> HTTPResponse {
        HTTPResponse(
            status: 101, headers: HTTPHeaders(headers), body: .upgrade { await UpgradedSession.carry($0, body) })
    }

    static func webSocket(
        _ request: HTTPRequest, _ name: String?, _ body: @escaping @Sendable (ByteTransport) async -> Void
    ) -> HTTPResponse {
        let answer = WebSocketHandshake.answer(
            key: request.headers.first(name: "sec-websocket-key"),
            version: request.headers.first(name: "sec-websocket-version"), chosen: name)
        guard case .success(let headers) = answer else { return HTTPResponse(status: 400) }
        return upgraded(headers, body)
    }

    /// Echoes standard input, then ends with the code that the command names.
    static func exec(_ request: HTTPRequest) -> HTTPResponse {
        let code = Int(request.query.all("command").last ?? "") ?? 0
        let streams = CommandStreams(
            stdin: request.query["stdin"] == "true", stdout: request.query["stdout"] == "true",
            stderr: request.query["stderr"] == "true", tty: false)
        let body: RemoteCommand.Body = { channels in
            await channels.stdout(Array("begin\n".utf8))
            while streams.stdin, let bytes = await channels.stdin.next() { await channels.stdout(bytes) }
            await channels.stderr(Array("end\n".utf8))
            return .exited(code)
        }
        if request.headers.first(name: "upgrade")?.lowercased() == "websocket" {
            guard
                let channels = ChannelProtocol.negotiate(
                    WebSocketHandshake.offers(request.headers["sec-websocket-protocol"]))
            else { return HTTPResponse(status: 403) }
            return webSocket(request, channels.name) { await RemoteCommand.webSocket($0, channels, streams, body) }
        }
        let offers = WebSocketHandshake.offers(request.headers["x-stream-protocol-version"])
        guard let (name, version) = RemoteCommand.negotiate(offers) else { return HTTPResponse(status: 403) }
        return upgraded([
            ("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", name ?? ""),
        ]) { await RemoteCommand.spdy($0, version: version, streams, body) }
    }

    /// Answers each connection with what it was sent, in capitals.
    static func forward(_ request: HTTPRequest) -> HTTPResponse {
        let connect: PortForward.Connect = { port, fromClient, toClient in
            guard port == 80 else { throw FileError(call: "connect", path: "127.0.0.1:\(port)", code: 111) }
            while let bytes = await fromClient.next() {
                await toClient(Array(String(decoding: bytes, as: UTF8.self).uppercased().utf8))
            }
        }
        if request.headers.first(name: "upgrade")?.lowercased() == "websocket" {
            return webSocket(request, PortForward.tunnelProtocol) { await PortForward.tunnel($0, pod: "p", connect) }
        }
        return upgraded([
            ("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", PortForward.spdyProtocol),
        ]) { await PortForward.spdy($0, pod: "p", connect) }
    }

    /// Runs `body` with the port of a server.
    static func withServer(_ body: @escaping @Sendable (Int) async throws -> Void) async throws {
        let server = HTTPServer(HTTPServerConfiguration(.address(host: "127.0.0.1", port: 0))) { await respond($0) }
        defer { try? NodeFiles.removeTree(cache) }
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { port.yield($0.port ?? 0) } }
            for await number in ports {
                try await body(number)
                break
            }
            group.cancelAll()
        }
    }

    static func run(
        _ kubectl: String, _ port: Int, _ arguments: [String], input: [UInt8]?, environment: [String: String] = [:]
    ) async throws -> (code: Int32, output: [UInt8], errors: String) {
        let process = Process()
        process.executableURL = URL(filePath: kubectl)
        process.arguments =
            ["--server=http://127.0.0.1:\(port)", "--kubeconfig=/dev/null", "--cache-dir=\(Self.cache)"] + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = stderr
        try process.run()
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                Thread.detachNewThread {
                    if let input { try? stdin.fileHandleForWriting.write(contentsOf: Data(input)) }
                    try? stdin.fileHandleForWriting.close()
                }
                let output = Array((try? stdout.fileHandleForReading.readToEnd()) ?? Data())
                let errors = String(decoding: (try? stderr.fileHandleForReading.readToEnd()) ?? Data(), as: UTF8.self)
                process.waitUntilExit()
                continuation.resume(returning: (process.terminationStatus, output, errors))
            }
        }
    }

    /// Runs `kubectl exec`, again while it says that it threw a message away.
    ///
    /// Before 1.34 kubectl may read the first messages before it has made the streams that they are for
    /// (kubernetes/kubernetes#131203). That it names the stream shows that the message arrived.
    static func exec(
        _ kubectl: String, _ port: Int, _ arguments: [String], input: [UInt8]?, webSockets: String
    ) async throws -> (code: Int32, output: [UInt8], errors: String) {
        var attempts = 0
        while true {
            attempts += 1
            let result = try await run(
                kubectl, port, ["exec"] + arguments, input: input,
                environment: ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS": webSockets])
            let isLost = (1...3).contains { result.errors.contains("Unknown stream id \($0), discarding message") }
            if !isLost || attempts == 5 { return result }
        }
    }

    @Test("exec over WebSocket and SPDY: input, output, exit codes", arguments: kubectls, ["true", "false"])
    func exec(kubectl: String, webSockets: String) async throws {
        try await Self.withServer { port in
            let large = [UInt8](repeating: 0x61, count: 3_000_000)
            let echoed = try await Self.exec(
                kubectl, port, ["-i", "p", "--", "x", "0"], input: large, webSockets: webSockets)
            #expect(echoed.code == 0, "\(echoed.errors)")
            #expect(echoed.output.count == large.count + 6, "\(echoed.errors)")
            #expect(echoed.errors.contains("end\n"))
            let failed = try await Self.exec(
                kubectl, port, ["p", "--", "x", "42"], input: nil, webSockets: webSockets)
            #expect(failed.code == 42, "\(failed.errors)")
            #expect(failed.output == Array("begin\n".utf8), "\(failed.errors)")
            #expect(failed.errors.contains("command terminated with exit code 42"))
        }
    }

    @Test("port-forward over SPDY, plain and tunnelled", arguments: kubectls, ["true", "false"])
    func portForward(kubectl: String, webSockets: String) async throws {
        try await Self.withServer { port in
            let process = Process()
            process.executableURL = URL(filePath: kubectl)
            process.arguments = [
                "--server=http://127.0.0.1:\(port)", "--kubeconfig=/dev/null", "--cache-dir=\(Self.cache)",
                "port-forward",
                "pod/p", ":80", "--address=127.0.0.1",
            ]
            process.environment = ProcessInfo.processInfo.environment.merging([
                "KUBECTL_PORT_FORWARD_WEBSOCKETS": webSockets
            ]) { $1 }
            let stdout = Pipe()
            process.standardOutput = stdout
            process.standardError = FileHandle.nullDevice
            try process.run()
            defer {
                process.terminate()
                process.waitUntilExit()
            }
            // `Forwarding from 127.0.0.1:40000 -> 80`
            let line = await withCheckedContinuation { continuation in
                Thread.detachNewThread {
                    continuation.resume(
                        returning: String(decoding: stdout.fileHandleForReading.availableData, as: UTF8.self))
                }
            }
            let local = try #require(
                line.split(separator: " ").first { $0.hasPrefix("127.0.0.1:") }?.split(separator: ":").last)
            let number = try #require(Int(local), "\(line)")
            for _ in 0..<3 {
                let answer = await withCheckedContinuation { continuation in
                    Thread.detachNewThread { continuation.resume(returning: Self.talk(number, "hello")) }
                }
                #expect(answer == "HELLO")
            }
        }
    }

    /// Sends a text over a new connection and reads as many bytes back.
    static func talk(_ port: Int, _ text: String) -> String {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0, write(descriptor, text, text.utf8.count) == text.utf8.count else { return "" }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64)
        while answer.count < text.utf8.count {
            let count = read(descriptor, &chunk, chunk.count)
            guard count > 0 else { break }
            answer += chunk[..<count]
        }
        return String(decoding: answer, as: UTF8.self)
    }
}
