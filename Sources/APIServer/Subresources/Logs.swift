// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
import NIOCore
import NIOHTTP1
import Values

extension APIServer {
    /// GET of a pod's `log`: text that the node sends, passed on as it comes; over a WebSocket in messages.
    func log(_ context: RequestContext) async throws -> Reply {
        if let tail = try context.request.number("tailLines"), tail < 0 {
            throw StatusError.invalid(
                ("", "PodLogOptions"), name: context.name,
                [.invalid("tailLines", JSON(tail), "must be greater than or equal to 0")])
        }
        let webSocket = try context.request.webSocket(["binary.k8s.io", "base64.binary.k8s.io"])
        let exchange = try await askKubelet(try kubeletTarget(context))
        guard exchange.status == 200 else {
            let body = (try? await exchange.collect(upTo: 64 << 10)) ?? []
            await exchange.close()
            throw Self.refusal(exchange.status, body)
        }
        guard let webSocket else {
            return Reply(
                headers: [("Content-Type", "text/plain"), ("Cache-Control", "no-cache, private")],
                body: .stream { sink in
                    while let piece = try await exchange.next() { try await sink.write(Array(piece.readableBytesView)) }
                    await exchange.close()
                })
        }
        let isBase64 = webSocket.subprotocol == "base64.binary.k8s.io"
        return webSocket.reply { send in
            func frame(_ bytes: [UInt8]) -> [UInt8] {
                isBase64 ? WebSocketEncoder.text(Array(Base64.text(bytes).utf8)) : WebSocketEncoder.binary(bytes)
            }
            // An empty message first: a log that is followed may stay silent, and the client knows that it is there.
            try await send(frame([]))
            while let piece = try await exchange.next() { try await send(frame(Array(piece.readableBytesView))) }
            await exchange.close()
        }
    }

    /// GETs something from a kubelet. A log that is followed may stay silent for hours: only the connection has a
    /// deadline.
    private func askKubelet(_ target: KubeletTarget) async throws -> HTTPExchange {
        var request = HTTPExchange.Request(
            host: target.host, port: target.port, tls: kubeletTLS, method: "GET", target: target.target)
        request.connectTimeout = .seconds(10)
        do throws(HTTPExchangeError) {
            return try await HTTPExchange.start(request)
        } catch {
            if error.kind == .cancelled { throw CancellationError() }
            throw StatusError(
                500, "InternalError", "Get \"https://\(target.authority)\(target.target)\": \(error)",
                details: .object([:]))
        }
    }
}

extension KubeletTarget {
    /// Host and port as a URL has them.
    var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
