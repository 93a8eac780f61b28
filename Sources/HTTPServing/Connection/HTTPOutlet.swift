// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import Synchronization

/// A streamed answer that can be added to without a task of its own: for many clients that are told the same thing at
/// the same time, such as the watchers of a collection.
///
/// What is handed over is sent in its order, behind what the answer's ``HTTPBodyWriter`` has written. Nobody waits here
/// for a client that takes nothing: whoever sends looks at ``backlog`` first.
public final class HTTPOutlet: Sendable {
    /// What several of them are to send, in order for each.
    public struct Batch: Sendable {
        /// The same bytes for outlets of one event loop. What all of them share is counted once here, and not by two
        /// threads at the same time for each of a thousand clients.
        private struct Group: Sendable {
            let loop: ObjectIdentifier
            let bytes: [UInt8]
            var outlets: [HTTPOutlet]
        }

        private var groups: [Group] = []
        /// Where the last groups of each event loop are.
        private var last: [ObjectIdentifier: Int] = [:]

        public init() {}

        /// Adds bytes for one outlet. Those of the same array are shared.
        public mutating func add(_ bytes: [UInt8], to outlet: HTTPOutlet) {
            guard !bytes.isEmpty else { return }
            outlet.waiting.add(bytes.count, ordering: .relaxed)
            if let index = last[outlet.loop], groups[index].bytes.isSame(as: bytes) {
                groups[index].outlets.append(outlet)
                return
            }
            last[outlet.loop] = groups.count
            groups.append(Group(loop: outlet.loop, bytes: bytes, outlets: [outlet]))
        }

        /// Sends all, with one hop to each event loop.
        public func send() {
            for loop in last.keys {
                let groups = groups.filter { $0.loop == loop }
                groups.first?.outlets.first?.channel.eventLoop.execute {
                    for group in groups {
                        let buffer = ByteBuffer(bytes: group.bytes)
                        for outlet in group.outlets { outlet.write(buffer) }
                    }
                }
            }
        }
    }

    private let channel: any Channel
    private let loop: ObjectIdentifier
    private let waiting = Atomic(0)
    private let isOpen = Atomic(true)

    init(_ channel: any Channel) {
        self.channel = channel
        loop = ObjectIdentifier(channel.eventLoop)
    }

    /// The bytes that have been handed over and that the kernel has not taken yet.
    public var backlog: Int { waiting.load(ordering: .relaxed) }

    /// The answer ends behind what has been handed over so far; what comes later is dropped.
    func close() { channel.eventLoop.execute { self.isOpen.store(false, ordering: .releasing) } }

    private func write(_ buffer: ByteBuffer) {
        let count = buffer.readableBytes
        guard isOpen.load(ordering: .acquiring) else {
            waiting.subtract(count, ordering: .relaxed)
            return
        }
        let promise = channel.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in
            self.waiting.subtract(count, ordering: .relaxed)
        }
        channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(buffer)), promise: promise)
    }
}

extension Array {
    /// Whether both are the same storage.
    fileprivate func isSame(as other: Self) -> Bool {
        count == other.count
            && withUnsafeBufferPointer { mine in
                other.withUnsafeBufferPointer { mine.baseAddress == $0.baseAddress }
            }
    }
}
