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
    /// What one of them is to send.
    public struct Piece: Sendable {
        let outlet: HTTPOutlet
        let bytes: [UInt8]

        public init(_ outlet: HTTPOutlet, _ bytes: [UInt8]) {
            self.outlet = outlet
            self.bytes = bytes
        }
    }

    private let channel: any Channel
    private let waiting = Atomic(0)
    private let isOpen = Atomic(true)

    init(_ channel: any Channel) { self.channel = channel }

    /// The bytes that have been handed over and that the kernel has not taken yet.
    public var backlog: Int { waiting.load(ordering: .relaxed) }

    /// The answer ends behind what has been handed over so far; what comes later is dropped.
    func close() { channel.eventLoop.execute { self.isOpen.store(false, ordering: .releasing) } }

    /// Sends the pieces, with one hop to each event loop. Pieces of the same array share its bytes.
    public static func send(_ pieces: [Piece]) {
        var groups: [(loop: any EventLoop, pieces: [Piece])] = []
        for piece in pieces where !piece.bytes.isEmpty {
            piece.outlet.waiting.add(piece.bytes.count, ordering: .relaxed)
            let loop = piece.outlet.channel.eventLoop
            if let index = groups.firstIndex(where: { $0.loop === loop }) {
                groups[index].pieces.append(piece)
            } else {
                groups.append((loop, [piece]))
            }
        }
        for group in groups {
            let pieces = group.pieces
            group.loop.execute {
                var last: (bytes: [UInt8], buffer: ByteBuffer)?
                for piece in pieces {
                    let buffer: ByteBuffer
                    if let last, last.bytes.isSame(as: piece.bytes) {
                        buffer = last.buffer
                    } else {
                        buffer = ByteBuffer(bytes: piece.bytes)
                        last = (piece.bytes, buffer)
                    }
                    piece.outlet.write(buffer)
                }
            }
        }
    }

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
