// SPDX-License-Identifier: Apache-2.0

import Values

/// What happened on a SPDY session.
package enum SPDYEvent: Hashable, Sendable {
    case opened(stream: UInt32, headers: [String: String])
    case replied(stream: UInt32, headers: [String: String])
    case data(stream: UInt32, [UInt8])
    /// The other side sends no more on this stream.
    case finished(stream: UInt32)
    case reset(stream: UInt32, status: UInt32)
    /// Room to send on this stream (0: on any) has grown.
    case writable(stream: UInt32)
    case goAway
}

/// A SPDY/3.1 session as a state machine without I/O: bytes in, events and answering bytes out.
///
/// Flow control follows the other side. A peer that never sends SETTINGS or WINDOW_UPDATE does not take part in it,
/// and would wait for ever for bytes held back from it: kubectl's library is one. Towards such a peer only the
/// transport limits.
package struct SPDYSession: ~Copyable {
    package enum Role: Sendable { case server, client }

    private struct Stream {
        var sendWindow: Int
        var received = 0
        var localDone = false
        var remoteDone = false
        /// Bytes that wait for the window; the last may be the end of the stream.
        var pending: [UInt8] = []
        var pendingEnd = false
    }

    static let initialWindow = 65536
    static let maximumControlFrame = 64 << 10
    /// More streams at once than any client opens.
    static let maximumStreams = 1024

    private let role: Role
    private let compressor = SPDYHeaderCompressor()
    private let decompressor = SPDYHeaderDecompressor()
    private var buffer: [UInt8] = []
    private var streams: [UInt32: Stream] = [:]
    private var nextStream: UInt32
    private var lastAccepted: UInt32 = 0
    private var sessionWindow = initialWindow
    private var sessionReceived = 0
    private var peerWindow = initialWindow
    private var peerControlsFlow = false
    /// The rest of a data frame whose beginning was delivered already.
    private var partial: (stream: UInt32, remaining: Int, isLast: Bool)?
    /// Answers to send, in order. The caller takes them after each call.
    private var output: [UInt8] = []

    package init(role: Role) {
        self.role = role
        nextStream = role == .server ? 2 : 1
    }

    /// What has to be written to the transport now.
    package mutating func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    /// Bytes of a stream that wait for the other side's window.
    package func pending(on stream: UInt32) -> Int { streams[stream]?.pending.count ?? 0 }

    package func isOpen(_ stream: UInt32) -> Bool { streams[stream] != nil }

    // MARK: Sending

    package mutating func open(_ headers: [(String, String)]) throws(SPDYError) -> UInt32 {
        let id = nextStream
        nextStream += 2
        streams[id] = Stream(sendWindow: peerWindow)
        let block = try compressor.compress(SPDYHeaderBlock.encode(headers))
        var body: [UInt8] = []
        body.appendBigEndian(id)
        body.appendBigEndian(UInt32(0))
        body += [0, 0]
        control(1, flags: 0, body + block)
        return id
    }

    package mutating func reply(_ stream: UInt32, _ headers: [(String, String)] = []) throws(SPDYError) {
        guard streams[stream] != nil else { return }
        let block = try compressor.compress(SPDYHeaderBlock.encode(headers))
        var body: [UInt8] = []
        body.appendBigEndian(stream)
        control(2, flags: 0, body + block)
    }

    /// Queues bytes for a stream; what the windows allow goes out at once.
    package mutating func send(_ stream: UInt32, _ bytes: some Collection<UInt8>, end: Bool = false) {
        guard var state = streams[stream], !state.localDone, !state.pendingEnd else { return }
        state.pending.append(contentsOf: bytes)
        state.pendingEnd = end
        streams[stream] = state
        flush(stream)
    }

    package mutating func reset(_ stream: UInt32, status: UInt32 = 5) {
        guard streams.removeValue(forKey: stream) != nil else { return }
        sendReset(stream, status)
    }

    package mutating func goAway() {
        var body: [UInt8] = []
        body.appendBigEndian(lastAccepted)
        body.appendBigEndian(UInt32(0))
        control(7, flags: 0, body)
    }

    /// The reader of a stream took so many bytes: opens the windows again, in steps of half a window.
    package mutating func consumed(_ count: Int, on stream: UInt32) {
        sessionReceived += count
        if sessionReceived >= Self.initialWindow / 2 {
            windowUpdate(0, sessionReceived)
            sessionReceived = 0
        }
        guard var state = streams[stream], !state.remoteDone else { return }
        state.received += count
        if state.received >= Self.initialWindow / 2 {
            windowUpdate(stream, state.received)
            state.received = 0
        }
        streams[stream] = state
    }

    private mutating func flush(_ id: UInt32) {
        guard var state = streams[id], !state.localDone else { return }
        while !state.pending.isEmpty {
            var count = min(state.pending.count, 1 << 16)
            if peerControlsFlow { count = min(count, state.sendWindow, sessionWindow) }
            guard count > 0 else { break }
            let isLast = state.pendingEnd && count == state.pending.count
            data(id, state.pending[..<count], isLast)
            if count == state.pending.count { state.pending = [] } else { state.pending.removeFirst(count) }
            state.sendWindow -= count
            sessionWindow -= count
            if isLast { state.localDone = true }
        }
        if state.pending.isEmpty, state.pendingEnd, !state.localDone {
            data(id, [], true)
            state.localDone = true
        }
        streams[id] = state.localDone && state.remoteDone ? nil : state
    }

    private mutating func data(_ stream: UInt32, _ bytes: ArraySlice<UInt8>, _ isLast: Bool) {
        output.appendBigEndian(stream & 0x7FFF_FFFF)
        output.appendBigEndian(UInt32(bytes.count) | (isLast ? 1 << 24 : 0))
        output += bytes
    }

    private mutating func control(_ type: UInt16, flags: UInt8, _ body: [UInt8]) {
        output.appendBigEndian(UInt16(0x8003))
        output.appendBigEndian(type)
        output.appendBigEndian(UInt32(flags) << 24 | UInt32(body.count))
        output += body
    }

    private mutating func windowUpdate(_ stream: UInt32, _ delta: Int) {
        var body: [UInt8] = []
        body.appendBigEndian(stream)
        body.appendBigEndian(UInt32(delta))
        control(9, flags: 0, body)
    }

    private mutating func sendReset(_ stream: UInt32, _ status: UInt32) {
        var body: [UInt8] = []
        body.appendBigEndian(stream)
        body.appendBigEndian(status)
        control(3, flags: 0, body)
    }

    // MARK: Receiving

    /// Takes bytes as they come from the transport. Data is handed out as it arrives, without waiting for the end
    /// of its frame.
    package mutating func receive(_ bytes: some Collection<UInt8>) throws(SPDYError) -> [SPDYEvent] {
        buffer.append(contentsOf: bytes)
        var events: [SPDYEvent] = []
        var offset = 0
        while try step(&offset, &events) {}
        if offset == buffer.count { buffer.removeAll() } else { buffer.removeFirst(offset) }
        return events
    }

    private func number(_ offset: Int) -> UInt32 {
        buffer[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    private mutating func step(_ offset: inout Int, _ events: inout [SPDYEvent]) throws(SPDYError) -> Bool {
        if let part = partial {
            let count = min(part.remaining, buffer.count - offset)
            guard count > 0 || part.remaining == 0 else { return false }
            receiveData(part.stream, Array(buffer[offset..<offset + count]), &events)
            offset += count
            if part.remaining == count {
                partial = nil
                if part.isLast { remoteFinished(part.stream, &events) }
            } else {
                partial = (part.stream, part.remaining - count, part.isLast)
            }
            return true
        }
        guard buffer.count - offset >= 8 else { return false }
        let first = number(offset)
        let second = number(offset + 4)
        let flags = UInt8(second >> 24)
        let length = Int(second & 0xFF_FFFF)
        guard first & 0x8000_0000 != 0 else {
            offset += 8
            partial = (first, length, flags & 1 != 0)
            if streams[first] == nil, first > lastAccepted { sendReset(first, 2) }
            return true
        }
        guard first >> 16 & 0x7FFF == 3 else { throw SPDYError("version \(first >> 16 & 0x7FFF) is not SPDY/3") }
        guard length <= Self.maximumControlFrame else { throw SPDYError("a control frame of \(length) bytes") }
        guard buffer.count - offset >= 8 + length else { return false }
        let body = Array(buffer[offset + 8..<offset + 8 + length])
        offset += 8 + length
        do {
            try control(UInt16(first & 0xFFFF), flags, body, &events)
        } catch let error as SPDYError {
            throw error
        } catch {
            throw SPDYError("a control frame of type \(first & 0xFFFF) is cut short")
        }
        return true
    }

    private mutating func receiveData(_ id: UInt32, _ bytes: [UInt8], _ events: inout [SPDYEvent]) {
        guard let state = streams[id], !state.remoteDone else {
            // Nobody reads what comes for a closed stream, but it counts against the session's window.
            consumed(bytes.count, on: 0)
            return
        }
        if !bytes.isEmpty { events.append(.data(stream: id, bytes)) }
    }

    private mutating func remoteFinished(_ id: UInt32, _ events: inout [SPDYEvent]) {
        guard var state = streams[id], !state.remoteDone else { return }
        state.remoteDone = true
        streams[id] = state.localDone ? nil : state
        events.append(.finished(stream: id))
    }

    private mutating func headers(_ block: ArraySlice<UInt8>) throws(SPDYError) -> [String: String] {
        let pairs = try SPDYHeaderBlock.decode(decompressor.decompress(Array(block)))
        return Dictionary(pairs.map { ($0.lowercased(), $1) }) { $0 + "\0" + $1 }
    }

    private mutating func control(
        _ type: UInt16, _ flags: UInt8, _ body: [UInt8], _ events: inout [SPDYEvent]
    ) throws {
        var reader = ByteReader(body)
        switch type {
        case 1:
            let id: UInt32 = try reader.bigEndian() & 0x7FFF_FFFF
            try reader.skip(6)
            let headers = try headers(try reader.read(reader.remaining))
            guard id % 2 == (role == .server ? 1 : 0), id > lastAccepted, streams.count < Self.maximumStreams else {
                sendReset(id, id > lastAccepted ? 3 : 1)
                return
            }
            lastAccepted = id
            streams[id] = Stream(sendWindow: peerWindow, localDone: flags & 2 != 0)
            events.append(.opened(stream: id, headers: headers))
            if flags & 1 != 0 { remoteFinished(id, &events) }
        case 2, 8:
            let id: UInt32 = try reader.bigEndian() & 0x7FFF_FFFF
            let headers = try headers(try reader.read(reader.remaining))
            guard streams[id] != nil else { return }
            if type == 2 { events.append(.replied(stream: id, headers: headers)) }
            if flags & 1 != 0 { remoteFinished(id, &events) }
        case 3:
            let id: UInt32 = try reader.bigEndian() & 0x7FFF_FFFF
            let status: UInt32 = try reader.bigEndian()
            if streams.removeValue(forKey: id) != nil { events.append(.reset(stream: id, status: status)) }
        case 4: try settings(&reader, &events)
        case 6:
            let id: UInt32 = try reader.bigEndian()
            // Ours are even for a server; the other side's are sent back.
            if id % 2 == (role == .server ? 1 : 0) { control(6, flags: 0, body) }
        case 7: events.append(.goAway)
        case 9:
            let id: UInt32 = try reader.bigEndian() & 0x7FFF_FFFF
            let delta: UInt32 = try reader.bigEndian() & 0x7FFF_FFFF
            peerControlsFlow = true
            if id == 0 {
                sessionWindow = min(sessionWindow + Int(delta), Int(Int32.max))
                for stream in streams.keys.sorted() { flush(stream) }
            } else if var state = streams[id] {
                state.sendWindow = min(state.sendWindow + Int(delta), Int(Int32.max))
                streams[id] = state
                flush(id)
            }
            events.append(.writable(stream: id))
        default: break
        }
    }

    private mutating func settings(_ reader: inout ByteReader, _ events: inout [SPDYEvent]) throws {
        let count: UInt32 = try reader.bigEndian()
        for _ in 0..<min(count, 256) {
            let id: UInt32 = try reader.bigEndian() & 0xFF_FFFF
            let value: UInt32 = try reader.bigEndian()
            guard id == 7, value <= Int32.max else { continue }
            let change = Int(value) - peerWindow
            peerWindow = Int(value)
            for stream in streams.keys.sorted() {
                streams[stream]?.sendWindow += change
                if change > 0 { flush(stream) }
            }
        }
        peerControlsFlow = true
        events.append(.writable(stream: 0))
    }
}
