// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import Linux
import NIOCore
import NIOPosix
import Values

/// Connects to a port on the loopback address of a pod.
enum PodConnector {
    /// The socket is made on a thread in the pod's network, where it stays, and then handed to NIO.
    static func connect(
        port: Int, netnsPath: String?, fromClient: ByteQueue, toClient: @escaping @Sendable ([UInt8]) async -> Void
    ) async throws {
        let target = Namespaces.Target(net: netnsPath.map { NamespaceRef.path($0) })
        let descriptor = try await Namespaces.enter(target) { try dial(port) }
        let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer> = try await ClientBootstrap(
            group: .singletonMultiThreadedEventLoopGroup
        )
        .channelOption(.allowRemoteHalfClosure, value: true)
        .withConnectedSocket(descriptor) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel(
                    wrappingChannelSynchronously: channel,
                    configuration: .init(isOutboundHalfClosureEnabled: true))
            }
        }
        try await channel.executeThenClose { inbound, outbound in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    while let bytes = await fromClient.next() { try await outbound.write(ByteBuffer(bytes: bytes)) }
                    outbound.finish()
                }
                do {
                    for try await buffer in inbound { await toClient(Array(buffer.readableBytesView)) }
                } catch let error as IOError where error.errnoCode == ECONNRESET {
                    // The pod hung up: the client sees the end of its stream.
                }
                // The pod has said all: what the client still says has no reader.
                group.cancelAll()
            }
        }
    }

    private static func dial(_ port: Int) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw FileError(call: "socket", path: "127.0.0.1:\(port)", code: errno) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            let code = errno
            close(descriptor)
            throw FileError(call: "connect", path: "127.0.0.1:\(port) in the pod's network", code: code)
        }
        return descriptor
    }
}
