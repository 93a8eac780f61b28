// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// A stream socket in the file system; every call blocks.
public struct UnixSocket: ~Copyable, Sendable {
    public let descriptor: FileDescriptor
    public var rawValue: Int32 { descriptor.rawValue }

    public init(owning rawValue: Int32) { descriptor = FileDescriptor(owning: rawValue) }

    public consuming func take() -> Int32 { descriptor.take() }

    private static func make() throws(Errno) -> UnixSocket {
        let cloexec: Int32 = 0o2000000
        return UnixSocket(
            owning: try check("socket") { socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | cloexec, 0) })
    }

    private static func withAddress(
        _ path: String, _ call: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(Errno) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard bytes.count < capacity else {
            throw Errno(
                code: ENAMETOOLONG, call: call,
                detail: "\(path): a socket's path has at most \(capacity - 1) bytes")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        try check(call, path) {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
    }

    /// Listens at `path`; a socket that was left there is replaced.
    public static func listen(_ path: String, backlog: Int32 = 128, mode: UInt32 = 0o600) throws(Errno) -> UnixSocket {
        let result = try make()
        if Files.kind(path) == .socket { unlink(path) }
        let fd = result.rawValue
        // Nobody can connect before listen(2), so the mode is in force in time.
        try withAddress(path, "bind") { bind(fd, $0, $1) }
        try check("chmod", path) { chmod(path, mode) }
        try check("listen", path) { Glibc.listen(fd, backlog) }
        return result
    }

    public static func connect(_ path: String) throws(Errno) -> UnixSocket {
        let result = try make()
        let fd = result.rawValue
        try withAddress(path, "connect") { Glibc.connect(fd, $0, $1) }
        return result
    }

    public func accept() throws(Errno) -> UnixSocket {
        let fd = rawValue
        return UnixSocket(owning: try check("accept") { catbird_accept(fd) })
    }

    /// Two sockets connected with each other.
    public static func pair() throws(Errno) -> (Int32, Int32) {
        var fds: [Int32] = [-1, -1]
        let cloexec: Int32 = 0o2000000
        try check("socketpair") { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | cloexec, 0, &fds) }
        return (fds[0], fds[1])
    }

    /// Sends all bytes; the descriptors, which stay the caller's, arrive with the first of them.
    public func send(_ bytes: [UInt8], descriptors: [Int32] = []) throws(Errno) {
        let fd = rawValue
        try check("sendmsg") { catbird_send_with_fds(fd, bytes, bytes.count, descriptors, descriptors.count) }
    }

    /// Receives what is there, at most `count` bytes; no bytes mean the other end has closed. The caller owns the
    /// descriptors.
    public func receive(upTo count: Int) throws(Errno) -> (bytes: [UInt8], descriptors: [Int32]) {
        var descriptors = [Int32](repeating: -1, count: 64)
        var received = 0
        var failure: Errno?
        let fd = rawValue
        let bytes = [UInt8](unsafeUninitializedCapacity: max(count, 0)) { space, filled in
            let result = catbird_receive_with_fds(
                fd, space.baseAddress, space.count, &descriptors, descriptors.count, &received)
            if result < 0 { failure = Errno("recvmsg") } else { filled = result }
        }
        if let failure { throw failure }
        return (bytes, Array(descriptors.prefix(received)))
    }

    /// Receives exactly `count` bytes, or throws `ECONNRESET` when the other end closes before.
    public func receive(exactly count: Int) throws(Errno) -> (bytes: [UInt8], descriptors: [Int32]) {
        var bytes: [UInt8] = []
        var descriptors: [Int32] = []
        while bytes.count < count {
            do throws(Errno) {
                let part = try receive(upTo: count - bytes.count)
                descriptors += part.descriptors
                guard !part.bytes.isEmpty else {
                    throw Errno(code: ECONNRESET, call: "recvmsg", detail: "\(bytes.count) of \(count) bytes came")
                }
                bytes += part.bytes
            } catch {
                for fd in descriptors { close(fd) }
                throw error
            }
        }
        return (bytes, descriptors)
    }

    /// The process at the other end.
    public func peer() throws(Errno) -> (pid: Int32, uid: UInt32, gid: UInt32) {
        var pid: Int32 = 0
        var uid: UInt32 = 0
        var gid: UInt32 = 0
        let fd = rawValue
        try check("getsockopt(SO_PEERCRED)") { catbird_peer_credentials(fd, &pid, &uid, &gid) }
        return (pid, uid, gid)
    }

    /// Receiving and sending fail with `EAGAIN` after this long.
    public func setTimeout(_ timeout: Duration) throws(Errno) {
        let parts = timeout.components
        var value = timeval(tv_sec: Int(parts.seconds), tv_usec: Int(parts.attoseconds / 1_000_000_000_000))
        let fd = rawValue
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            try check("setsockopt") {
                setsockopt(fd, SOL_SOCKET, option, &value, socklen_t(MemoryLayout<timeval>.size))
            }
        }
    }
}
