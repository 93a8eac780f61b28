// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Values

/// The WebSocket subprotocols of remote commands: the first byte of a message names its channel.
package struct ChannelProtocol: Hashable, Sendable {
    /// What is answered in `Sec-WebSocket-Protocol`; nil when the client offered nothing.
    package let name: String?
    /// 1 for `channel.k8s.io`, and for none at all; 4 and 5 for those that carry a Status on the error channel.
    package let version: Int
    /// The channel is a digit, and the rest is base 64 in text messages.
    package let isBase64: Bool

    package static let stdin: UInt8 = 0
    package static let stdout: UInt8 = 1
    package static let stderr: UInt8 = 2
    package static let error: UInt8 = 3
    package static let resize: UInt8 = 4
    /// Version 5: the second byte is the channel that ends.
    package static let close: UInt8 = 255

    private static let known: [ChannelProtocol] = [
        ChannelProtocol(name: "v5.channel.k8s.io", version: 5, isBase64: false),
        ChannelProtocol(name: "v4.channel.k8s.io", version: 4, isBase64: false),
        ChannelProtocol(name: "v4.base64.channel.k8s.io", version: 4, isBase64: true),
        ChannelProtocol(name: "channel.k8s.io", version: 1, isBase64: false),
        ChannelProtocol(name: "base64.channel.k8s.io", version: 1, isBase64: true),
    ]

    /// The first of the client's offers that is known and that `accepts` lets through; nil when there is none.
    package static func negotiate(
        _ offers: [String], accepts: (ChannelProtocol) -> Bool = { _ in true }
    ) -> ChannelProtocol? {
        guard !offers.isEmpty else { return ChannelProtocol(name: nil, version: 1, isBase64: false) }
        for offer in offers {
            if let found = known.first(where: { $0.name == offer && accepts($0) }) { return found }
        }
        return nil
    }

    package var carriesStatus: Bool { version >= 4 }

    /// A message for the client, framed.
    package func frame(_ channel: UInt8, _ payload: some Collection<UInt8>) -> [UInt8] {
        guard isBase64 else { return WebSocketEncoder.binary([channel] + payload) }
        return WebSocketEncoder.text([0x30 + channel] + Array(Base64.text(Array(payload)).utf8))
    }

    /// What a message from the client says; nil when it is empty or not readable.
    package func message(_ bytes: [UInt8]) -> ChannelMessage? {
        guard let first = bytes.first else { return nil }
        if isBase64 {
            guard (0x30...0x39).contains(first),
                let payload = Base64.bytes(String(decoding: bytes.dropFirst(), as: UTF8.self))
            else { return nil }
            return .data(channel: first - 0x30, payload)
        }
        if version >= 5, first == Self.close {
            guard bytes.count == 2 else { return nil }
            return .close(channel: bytes[1])
        }
        return .data(channel: first, Array(bytes.dropFirst()))
    }
}

/// A message on a channel.
package enum ChannelMessage: Hashable, Sendable {
    case data(channel: UInt8, [UInt8])
    case close(channel: UInt8)
}

/// Columns and rows of a terminal.
package struct TerminalSize: Hashable, Sendable {
    package let width: UInt16
    package let height: UInt16

    package init(width: UInt16, height: UInt16) {
        self.width = width
        self.height = height
    }

    /// Reads `{"Width":80,"Height":24}`.
    package init?(json bytes: [UInt8]) {
        guard bytes.count <= 4096, let json = try? JSON(parsing: bytes),
            let width = json["Width"].int.flatMap({ UInt16(exactly: $0) }),
            let height = json["Height"].int.flatMap({ UInt16(exactly: $0) }), width > 0, height > 0
        else { return nil }
        self.init(width: width, height: height)
    }

    /// Splits a stream of such objects, as SPDY delivers them: what is not complete stays in `pending`.
    package static func read(_ bytes: [UInt8], pending: inout [UInt8]) -> [TerminalSize] {
        pending += bytes
        var sizes: [TerminalSize] = []
        while let end = pending.firstIndex(of: UInt8(ascii: "}")) {
            if let size = TerminalSize(json: Array(pending[...end])) { sizes.append(size) }
            pending.removeFirst(end + 1)
            while let first = pending.first, first == 0x0A || first == 0x20 || first == 0x0D { pending.removeFirst() }
        }
        if pending.count > 4096 { pending.removeAll() }
        return sizes
    }
}
