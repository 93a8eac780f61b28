// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
import Values

/// A bearer token among the subprotocols that a WebSocket client offers: in a browser, scripts can set no other header.
struct WebSocketToken {
    private static let prefix = "base64url.bearer.authorization.k8s.io."

    let token: String

    /// Nil when none is offered.
    init?(_ request: IncomingRequest) throws(StatusError) {
        guard request.asksForWebSocket else { return nil }
        let offers = request.subprotocols
        let encoded = offers.filter(Self.isToken).map { $0.dropFirst(Self.prefix.count) }
        guard let first = encoded.first else { return nil }
        // Of two it could not be said who was meant; and one of the others has to be answered with.
        guard encoded.count == 1, first.utf8.allSatisfy(Self.isDigit), let bytes = Base64.bytes(first),
            let token = String(validating: bytes, as: UTF8.self), token.isEmpty || offers.count > 1
        else { throw .unauthorized() }
        if token.isEmpty { return nil }
        self.token = token
    }

    /// Without padding, and in the alphabet for addresses only (RFC 4648, section 5): a subprotocol's name is a token of
    /// HTTP.
    private static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }

    private static func isToken(_ offer: String) -> Bool { offer.hasPrefix(prefix) }

    /// The request as it goes on: whoever it is passed to, and whoever is answered, does not see the token.
    static func removed(from request: IncomingRequest) -> IncomingRequest {
        let offers = request.subprotocols
        let others = offers.filter { !isToken($0) }
        guard others.count < offers.count else { return request }
        var request = request
        request.headers.removeAll { $0.name.lowercased() == IncomingRequest.subprotocolHeader }
        if !others.isEmpty {
            request.headers.append((IncomingRequest.subprotocolHeader, others.joined(separator: ", ")))
        }
        return request
    }
}
