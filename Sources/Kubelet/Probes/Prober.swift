// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import ContainerRuntime
import Linux
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Values

/// What a probe found.
enum ProbeResult: Sendable {
    case success
    case failure(String)
}

/// Asks containers: from the node's network to the pod's address, or by a command inside.
struct Prober: Sendable {
    let runtime: any PodRuntime
    let http: HTTPClient
    let userAgent: String

    func probe(_ settings: ProbeSettings, container: ContainerID, address: String) async -> ProbeResult {
        await perform(settings.action, container: container, address: address, timeout: settings.timeout)
    }

    func perform(
        _ action: ProbeSettings.Action, container: ContainerID, address: String, timeout: Int
    ) async -> ProbeResult {
        switch action {
        case .exec(let command): await exec(command, in: container, timeout: timeout)
        case .tcp(let host, let port): await connect(host ?? address, port, timeout: timeout)
        case .http(let scheme, let host, let port, let path, let headers):
            await get(scheme, host ?? address, port, path, headers, timeout: timeout)
        }
    }

    private func exec(_ command: [String], in container: ContainerID, timeout: Int) async -> ProbeResult {
        do {
            let (code, output) = try await runtime.execSync(
                container, command: command, timeoutSeconds: timeout, limit: 10240)
            return code == 0 ? .success : .failure(String(decoding: output, as: UTF8.self))
        } catch {
            return .failure("\(error)")
        }
    }

    private func connect(_ host: String, _ port: Int, timeout: Int) async -> ProbeResult {
        do {
            let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .connectTimeout(.seconds(Int64(timeout))).connect(host: host, port: port).get()
            // That it answers is known; who closes first does not matter.
            try? await channel.close()
            return .success
        } catch {
            return .failure("dial tcp \(Self.authority(host, port)): \(Self.reason(error))")
        }
    }

    private func get(
        _ scheme: String, _ host: String, _ port: Int, _ path: String, _ headers: [[String]], timeout: Int
    ) async -> ProbeResult {
        let url = "\(scheme)://\(Self.authority(host, port))\(path)"
        var request = HTTPClientRequest(url: url)
        request.headers.add(name: "User-Agent", value: userAgent)
        request.headers.add(name: "Accept", value: "*/*")
        request.headers.add(name: "Connection", value: "close")
        for header in headers where header.count == 2 {
            request.headers.replaceOrAdd(name: header[0], value: header[1])
        }
        do {
            let response = try await http.execute(request, timeout: .seconds(Int64(timeout)))
            let code = response.status.code
            return (200..<400).contains(code) ? .success : .failure("HTTP probe failed with statuscode: \(code)")
        } catch {
            return .failure("Get \"\(url)\": dial tcp \(Self.authority(host, port)): \(Self.reason(error))")
        }
    }

    private static func authority(_ host: String, _ port: Int) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// The reason of a failed connection in the kernel's words.
    private static func reason(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError, let first = error.connectionErrors.first {
            return reason(first.error)
        }
        if let error = error as? IOError {
            return "connect: \(String(cString: strerror(error.errnoCode)).lowercased())"
        }
        if let error = error as? HTTPClientError, error == .deadlineExceeded || error == .connectTimeout {
            return "i/o timeout"
        }
        if error is ChannelError { return "i/o timeout" }
        return "\(error)"
    }
}
