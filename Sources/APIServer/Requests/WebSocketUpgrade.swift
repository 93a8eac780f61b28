// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects

/// A request that wants its answer over a WebSocket, and what it is told.
struct WebSocketUpgrade: Sendable {
    /// What was agreed on; nil when the client offered nothing.
    var subprotocol: String?
    var headers: [(name: String, value: String)]

    /// The answer: `produce` sends frames until it ends or the client goes.
    func reply(_ produce: @escaping @Sendable (@escaping WebSocketStream.Send) async throws -> Void) -> Reply {
        Reply(
            status: 101, headers: headers,
            body: .upgrade { connection in await WebSocketStream.run(connection, produce) })
    }
}

extension IncomingRequest {
    static let subprotocolHeader = "sec-websocket-protocol"

    var asksForWebSocket: Bool { asksForUpgrade && header("upgrade")?.lowercased() == "websocket" }

    /// The subprotocols that a WebSocket client offers, in its order.
    var subprotocols: [String] { WebSocketHandshake.offers(headerValues(Self.subprotocolHeader)) }

    /// The upgrade to a WebSocket that the request asks for; nil when it asks for none.
    ///
    /// - Parameter known: the subprotocols of which the client's first is taken; nil takes whatever it offers first.
    func webSocket(_ known: [String]?) throws(StatusError) -> WebSocketUpgrade? {
        guard asksForWebSocket else { return nil }
        let offers = subprotocols
        let chosen = offers.first { known?.contains($0) ?? true }
        guard chosen != nil || offers.isEmpty else {
            throw StatusError(
                403, "Forbidden",
                "none of the subprotocols \(offers.joined(separator: ", ")) is spoken here; these are: "
                    + (known ?? []).joined(separator: ", "))
        }
        let answer = WebSocketHandshake.answer(
            key: header("sec-websocket-key"), version: header("sec-websocket-version"), chosen: chosen)
        switch answer {
        case .success(let headers):
            return WebSocketUpgrade(subprotocol: chosen, headers: headers.map { (name: $0.0, value: $0.1) })
        case .failure(let refusal): throw .badRequest(refusal.message)
        }
    }
}
