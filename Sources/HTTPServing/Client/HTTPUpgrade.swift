// SPDX-License-Identifier: Apache-2.0

public import NIOCore
public import NIOHTTP1

/// What a server answered to a request for an upgrade.
public struct HTTPUpgradeResult: Sendable {
    public let status: Int
    public let headers: HTTPHeaders
    /// The body of a refusal, up to 1 MiB of it.
    public let bodyIfRefused: [UInt8]
    /// There when the status is 101. Whoever takes it closes it.
    public let connection: UpgradedConnection?
}

/// The client's side of an upgrade: `exec`, `attach` and `portforward` on their way to a kubelet.
public enum HTTPUpgrade {
    /// Connects, sends the head, and returns with the raw connection if the server agrees. `Host`, and `Connection:
    /// Upgrade` when `headers` name an `Upgrade`, are added if missing.
    public static func connect(
        host: String, port: Int, tls: HTTPClientTLS?, method: String, target: String, headers: HTTPHeaders,
        timeout: TimeAmount = .seconds(10)
    ) async throws -> HTTPUpgradeResult {
        var request = HTTPExchange.Request(
            host: host, port: port, tls: tls, method: method, target: target, headers: headers)
        request.connectTimeout = timeout
        request.answerTimeout = timeout
        let exchange: HTTPExchange
        do throws(HTTPExchangeError) {
            exchange = try await HTTPExchange.start(request)
        } catch {
            switch error.kind {
            case .connect: throw HTTPServingError("cannot connect to \(host):\(port): \(error)")
            case .noAnswer: throw HTTPServingError("\(host):\(port) did not answer: \(error)")
            case .cancelled: throw CancellationError()
            }
        }
        if let connection = exchange.connection {
            return HTTPUpgradeResult(
                status: exchange.status, headers: exchange.headers, bodyIfRefused: [], connection: connection)
        }
        let body = try await exchange.collect(upTo: 1 << 20)
        await exchange.close()
        return HTTPUpgradeResult(
            status: exchange.status, headers: exchange.headers, bodyIfRefused: body, connection: nil)
    }
}
