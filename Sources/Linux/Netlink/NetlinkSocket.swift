// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
import Synchronization

/// A connection to the kernel's routing tables of one network namespace: the one it was opened in, whichever thread
/// uses it later. Calls take their turn.
public final class NetlinkSocket: Sendable {
    private struct State {
        var sequence: UInt32 = 0
        var buffer: UnsafeMutablePointer<UInt8>?
        var capacity = 0
    }

    private let fd: Int32
    // The buffer is touched only with the lock held, so handing State between threads is safe.
    private let state: Mutex<SendableBox>

    /// Owns the receive buffer; reached only through the mutex above.
    private final class SendableBox: @unchecked Sendable {
        var state = State()
        deinit { free(state.buffer) }
    }

    /// In the calling thread's network namespace.
    public init() throws(Errno) {
        fd = try check("socket(NETLINK_ROUTE)") { catbird_netlink_open(NETLINK_ROUTE, 0) }
        state = Mutex(SendableBox())
    }

    /// In another network namespace.
    public convenience init(in namespace: NamespaceRef) throws {
        try self.init(protocol: NETLINK_ROUTE, in: namespace)
    }

    /// A connection to another of the kernel's tables; nil is the calling thread's namespace.
    init(protocol: Int32, in namespace: NamespaceRef?) throws {
        let open: @Sendable () throws -> Int32 = {
            try check("socket(AF_NETLINK, \(`protocol`))") { catbird_netlink_open(`protocol`, 0) }
        }
        fd = if let namespace { try Namespaces.inNamespaces(net: namespace, open) } else { try open() }
        state = Mutex(SendableBox())
    }

    deinit { close(fd) }

    /// Sends a request and waits for the kernel's word that it is done.
    ///
    /// - Parameter what: for the error: what was to be done, in words.
    package func perform(_ message: NetlinkMessage, _ what: @autoclosure () -> String) throws(Errno) {
        _ = try exchange(message, what())
    }

    /// Asks for a table. If it changed while the kernel was writing it down, asks again.
    package func dump(_ message: NetlinkMessage, _ what: @autoclosure () -> String) throws(Errno) -> [NetlinkReply] {
        for _ in 0..<10 {
            if let replies = try exchange(message, what()) { return replies }
        }
        throw Errno(code: EINTR, call: "netlink", detail: "\(what()): it changed during each of ten attempts")
    }

    /// Nil when a dump was interrupted.
    private func exchange(_ message: NetlinkMessage, _ what: @autoclosure () -> String) throws(Errno)
        -> [NetlinkReply]?
    {
        let result = state.withLock { box -> Result<[NetlinkReply]?, Errno> in
            do throws(Errno) { return .success(try exchange(message, &box.state, what())) } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func exchange(_ message: NetlinkMessage, _ state: inout State, _ what: @autoclosure () -> String)
        throws(Errno) -> [NetlinkReply]?
    {
        state.sequence &+= 1
        let sequence = state.sequence
        let bytes = message.finished(sequence: sequence)
        while true {
            let sent = send(fd, bytes, bytes.count, 0)
            if sent == bytes.count { break }
            if sent >= 0 || errno != EINTR { throw Errno("netlink", what()) }
        }
        var replies: [NetlinkReply] = []
        var interrupted = false
        while true {
            let count = catbird_netlink_receive(fd, &state.buffer, &state.capacity)
            guard count >= 0 else { throw Errno("netlink", what()) }
            let datagram = [UInt8](UnsafeBufferPointer(start: state.buffer, count: count))
            for reply in NetlinkReply.parse(datagram) where reply.sequence == sequence {
                if reply.flags & Int32(NLM_F_DUMP_INTR) != 0 { interrupted = true }
                switch reply.type {
                case Int(NLMSG_ERROR), Int(NLMSG_DONE):
                    let code = reply.payload.number(at: reply.payload.startIndex, as: Int32.self) ?? 0
                    if code < 0 {
                        if code == -EINTR, reply.type == Int(NLMSG_DONE) { return nil }
                        throw Errno(code: -code, call: "netlink", detail: Self.detail(what(), reply))
                    }
                    return interrupted ? nil : replies
                case Int(NLMSG_NOOP): continue
                default: replies.append(reply)
                }
            }
        }
    }

    /// Sends several messages as one batch, which the kernel carries out whole or not at all, and waits for its word.
    ///
    /// - Parameters:
    ///   - first: begins the batch; `last` ends it.
    ///   - messages: not empty. Only the last asks for an acknowledgement: the kernel answers the others if they fail.
    ///   - what: for the error: what the message of an index was to do, or the whole of them where it is nil.
    package func commit(
        first: NetlinkMessage, _ messages: [NetlinkMessage], last: NetlinkMessage, _ what: (Int?) -> String
    ) throws(Errno) {
        let result = state.withLock { box -> Result<Void, Errno> in
            do throws(Errno) { return .success(try commit(first, messages, last, &box.state, what)) } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    private func commit(
        _ first: NetlinkMessage, _ messages: [NetlinkMessage], _ last: NetlinkMessage, _ state: inout State,
        _ what: (Int?) -> String
    ) throws(Errno) {
        let start = state.sequence &+ 1
        let count = UInt32(truncatingIfNeeded: messages.count)
        var bytes = first.finished(sequence: start)
        bytes.reserveCapacity(messages.reduce(64) { $0 + $1.bytes.count })
        for (index, message) in messages.enumerated() {
            bytes += message.finished(sequence: start &+ 1 &+ UInt32(truncatingIfNeeded: index))
        }
        bytes += last.finished(sequence: start &+ 1 &+ count)
        state.sequence = start &+ 1 &+ count
        // The kernel counts its own structures with what is sent.
        try check("setsockopt(SO_SNDBUFFORCE)", what(nil)) { catbird_netlink_send_room(fd, bytes.count) }
        while true {
            let sent = send(fd, bytes, bytes.count, 0)
            if sent == bytes.count { break }
            if sent >= 0 || errno != EINTR { throw Errno("nfnetlink", what(nil)) }
        }
        // Of several that failed the first is the reason: the others may have needed it.
        var failure: Errno?
        while true {
            let received = catbird_netlink_receive(fd, &state.buffer, &state.capacity)
            guard received >= 0 else { throw Errno("nfnetlink", what(nil)) }
            let datagram = [UInt8](UnsafeBufferPointer(start: state.buffer, count: received))
            for reply in NetlinkReply.parse(datagram) where reply.type == Int(NLMSG_ERROR) {
                let distance = reply.sequence &- start
                guard distance <= count &+ 1 else { continue }
                let code = reply.payload.number(at: reply.payload.startIndex, as: Int32.self) ?? 0
                let index = distance == 0 || distance > count ? nil : Int(distance) - 1
                if code < 0, failure == nil {
                    failure = Errno(code: -code, call: "nfnetlink", detail: Self.detail(what(index), reply))
                }
                // What concerns the whole is said of its first message, and nothing else is said then.
                guard distance == 0 && code < 0 || distance == count else { continue }
                if let failure { throw failure }
                return
            }
        }
    }

    /// What was asked for, with the kernel's own explanation when it gives one.
    private static func detail(_ what: String, _ reply: NetlinkReply) -> String {
        let capped: Int32 = 0x100
        let hasAttributes: Int32 = 0x200
        guard reply.flags & hasAttributes != 0 else { return what }
        var offset = 4
        if reply.type == Int(NLMSG_ERROR) {
            let start = reply.payload.startIndex + 4
            let original = reply.flags & capped != 0 ? 16 : Int(reply.payload.number(at: start, as: UInt32.self) ?? 16)
            offset += (original + 3) & ~3
        }
        let attributes = NetlinkAttributes(reply.payload.dropFirst(offset))
        guard let text = attributes.string(Int(NLMSGERR_ATTR_MSG.rawValue)), !text.isEmpty else { return what }
        return "\(what) (kernel: \(text))"
    }
}
