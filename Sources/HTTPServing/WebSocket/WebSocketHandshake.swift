// SPDX-License-Identifier: Apache-2.0

import Values

/// The opening handshake of RFC 6455 section 4.2, as far as it concerns a server that was handed the request.
package enum WebSocketHandshake {
    /// `Sec-WebSocket-Accept` for the client's `Sec-WebSocket-Key`.
    package static func accept(key: String) -> String {
        Base64.text(SHA1.digest((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8))
    }

    /// The subprotocols that the client offers, in its order. The header may come once or several times.
    package static func offers(_ headers: [String]) -> [String] {
        headers.flatMap { $0.split(separator: ",") }.map { trimmed($0) }.filter { !$0.isEmpty }
    }

    /// The headers of the 101 answer; nil when the request is no WebSocket request of version 13, with the reason.
    package static func answer(
        key: String?, version: String?, chosen: String?
    ) -> Result<[(String, String)], Refusal> {
        guard version.map(trimmed) == "13" else {
            return .failure(Refusal("Sec-WebSocket-Version must be 13, but is \(version ?? "missing")"))
        }
        guard let key = key.map(trimmed), Base64.bytes(key)?.count == 16 else {
            return .failure(Refusal("Sec-WebSocket-Key must be 16 bytes in base 64"))
        }
        var headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept(key: key))]
        if let chosen { headers.append(("Sec-WebSocket-Protocol", chosen)) }
        return .success(headers)
    }

    /// Why a request was not upgraded.
    package struct Refusal: Error, Hashable, Sendable {
        package let message: String
        package init(_ message: String) { self.message = message }
    }

    package static func trimmed(_ text: some StringProtocol) -> String {
        var part = text[...]
        while let first = part.first, first == " " || first == "\t" { part.removeFirst() }
        while let last = part.last, last == " " || last == "\t" { part.removeLast() }
        return String(part)
    }
}
