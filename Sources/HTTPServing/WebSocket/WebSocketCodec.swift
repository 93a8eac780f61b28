// SPDX-License-Identifier: Apache-2.0

/// What a WebSocket client sent (RFC 6455), with fragments joined and masks removed.
package enum WebSocketEvent: Hashable, Sendable {
    case text([UInt8])
    case binary([UInt8])
    case ping([UInt8])
    case pong([UInt8])
    /// The code is nil when the frame had no body.
    case close(code: UInt16?, reason: String)
}

/// Why the connection must be failed, with the close code that says so.
package struct WebSocketViolation: Error, Hashable, Sendable, CustomStringConvertible {
    package let code: UInt16
    package let reason: String
    package var description: String { "WebSocket protocol error \(code): \(reason)" }
}

/// The receiving half of a WebSocket server as a state machine without I/O.
package struct WebSocketDecoder: Sendable {
    /// A message longer than this, joined from its fragments, is refused with code 1009.
    package let maximumMessage: Int
    private var buffer: [UInt8] = []
    private var start = 0
    private var fragments: [UInt8] = []
    private var fragmentedOpcode: UInt8?

    /// Go's server takes messages of up to 32 MiB, and clients that send a file in one message count on it.
    package init(maximumMessage: Int = 32 << 20) { self.maximumMessage = maximumMessage }

    /// Takes bytes as they come from the network and returns the events that they complete.
    package mutating func feed(_ bytes: some Collection<UInt8>) throws(WebSocketViolation) -> [WebSocketEvent] {
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: buffer.capacity <= 1 << 16)
            start = 0
        } else if start > 1 << 16 {
            buffer.removeFirst(start)
            start = 0
        }
        buffer.append(contentsOf: bytes)
        var events: [WebSocketEvent] = []
        while let event = try frame() {
            if let event { events.append(event) }
        }
        return events
    }

    /// The next frame: nil when it is not complete, `.some(nil)` for a fragment that completes no message.
    private mutating func frame() throws(WebSocketViolation) -> WebSocketEvent?? {
        let available = buffer.count - start
        guard available >= 2 else { return nil }
        let first = buffer[start]
        let second = buffer[start + 1]
        let isFinal = first & 0x80 != 0
        let opcode = first & 0x0F
        guard first & 0x70 == 0 else { throw WebSocketViolation(code: 1002, reason: "reserved bits are set") }
        guard second & 0x80 != 0 else { throw WebSocketViolation(code: 1002, reason: "a client's frame is not masked") }
        var header = 2
        var length = UInt64(second & 0x7F)
        if length >= 126 {
            let width = length == 126 ? 2 : 8
            guard available >= 2 + width else { return nil }
            length = buffer[(start + 2)..<(start + 2 + width)].reduce(0) { $0 << 8 | UInt64($1) }
            header += width
        }
        if opcode >= 8 {
            guard isFinal, length <= 125 else {
                throw WebSocketViolation(code: 1002, reason: "a control frame is fragmented or longer than 125 bytes")
            }
        }
        guard length <= UInt64(maximumMessage - fragments.count) else {
            throw WebSocketViolation(code: 1009, reason: "a message is longer than \(maximumMessage) bytes")
        }
        let count = Int(length)
        guard available >= header + 4 + count else { return nil }
        let mask = Array(buffer[(start + header)..<(start + header + 4)])
        let bodyStart = start + header + 4
        var payload = Array(buffer[bodyStart..<(bodyStart + count)])
        for index in payload.indices { payload[index] ^= mask[index & 3] }
        start = bodyStart + count
        return .some(try event(opcode, isFinal, payload))
    }

    private mutating func event(
        _ opcode: UInt8, _ isFinal: Bool, _ payload: [UInt8]
    ) throws(WebSocketViolation) -> WebSocketEvent? {
        switch opcode {
        case 0, 1, 2:
            guard (opcode == 0) == (fragmentedOpcode != nil) else {
                throw WebSocketViolation(code: 1002, reason: "fragments are out of order")
            }
            let kind = fragmentedOpcode ?? opcode
            guard isFinal else {
                fragments += payload
                fragmentedOpcode = kind
                return nil
            }
            let whole = fragmentedOpcode == nil ? payload : fragments + payload
            fragments = []
            fragmentedOpcode = nil
            return kind == 1 ? .text(whole) : .binary(whole)
        case 8:
            guard payload.count != 1 else { throw WebSocketViolation(code: 1002, reason: "a close code of one byte") }
            guard payload.count >= 2 else { return .close(code: nil, reason: "") }
            let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
            return .close(code: code, reason: String(decoding: payload[2...], as: UTF8.self))
        case 9: return .ping(payload)
        case 10: return .pong(payload)
        default: throw WebSocketViolation(code: 1002, reason: "opcode \(opcode) is unknown")
        }
    }
}

/// The sending half: frames of a server, never masked, one a message.
package enum WebSocketEncoder {
    package static func text(_ payload: some Collection<UInt8>) -> [UInt8] { frame(1, payload) }
    package static func binary(_ payload: some Collection<UInt8>) -> [UInt8] { frame(2, payload) }
    package static func ping(_ payload: [UInt8] = []) -> [UInt8] { frame(9, payload) }
    package static func pong(_ payload: [UInt8]) -> [UInt8] { frame(10, payload) }

    package static func close(_ code: UInt16?, _ reason: String = "") -> [UInt8] {
        guard let code else { return frame(8, []) }
        return frame(8, [UInt8(code >> 8), UInt8(code & 0xFF)] + Array(reason.utf8.prefix(123)))
    }

    private static func frame(_ opcode: UInt8, _ payload: some Collection<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(payload.count + 10)
        bytes.append(0x80 | opcode)
        switch payload.count {
        case ..<126: bytes.append(UInt8(payload.count))
        case ..<65536:
            bytes.append(126)
            bytes.append(UInt8(payload.count >> 8))
            bytes.append(UInt8(payload.count & 0xFF))
        default:
            bytes.append(127)
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: payload.count >> shift))
            }
        }
        bytes.append(contentsOf: payload)
        return bytes
    }
}
