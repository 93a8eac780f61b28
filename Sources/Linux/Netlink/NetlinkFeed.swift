// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// What the kernel tells of its own accord on a netlink socket, in batches; what the messages mean is another's.
final class NetlinkFeed<Event: Sendable>: Sendable {
    private let fd: Int32
    private let continuation: AsyncStream<[Event]>.Continuation
    private let overflow: Event
    private let parse: @Sendable (NetlinkReply) -> Event?
    /// For one reader.
    let events: AsyncStream<[Event]>

    /// - Parameters:
    ///   - protocolNumber: netlink's, such as `NETLINK_ROUTE`.
    ///   - groups: what is listened to, a bit each.
    ///   - overflow: told when messages were lost, by the kernel or because nobody read.
    ///   - parse: is handed each message in its order, never two at a time.
    init(
        _ protocolNumber: Int32, _ groups: UInt32, in namespace: NamespaceRef?, overflow: Event,
        _ parse: @escaping @Sendable (NetlinkReply) -> Event?
    ) throws {
        fd = try Namespaces.inNamespaces(net: namespace) {
            try check("socket(AF_NETLINK)", "protocol \(protocolNumber)") {
                catbird_netlink_open(protocolNumber, groups)
            }
        }
        (events, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1024))
        self.overflow = overflow
        self.parse = parse
        do throws(Errno) {
            try check("fcntl") { catbird_set_nonblocking(fd, 1) }
            try FileEvents.shared().add(fd) { [weak self] _ in self?.receive() }
        } catch {
            close(fd)
            throw error
        }
    }

    deinit {
        FileEvents.retire(fd)
        continuation.finish()
    }

    /// Takes all that is there. Runs on the thread of the file events.
    private func receive() {
        var buffer: UnsafeMutablePointer<UInt8>?
        var capacity = 0
        defer { free(buffer) }
        var batch: [Event] = []
        while true {
            let count = catbird_netlink_receive(fd, &buffer, &capacity)
            if count < 0 {
                guard errno == ENOBUFS else { break }
                batch.append(overflow)
                continue
            }
            batch += NetlinkReply.parse([UInt8](UnsafeBufferPointer(start: buffer, count: count))).compactMap(parse)
        }
        if batch.isEmpty { return }
        if case .dropped = continuation.yield(batch) { continuation.yield([overflow]) }
    }
}
