// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Values

/// A system call that failed.
struct SystemFailure: Error, CustomStringConvertible {
    let call: String
    let code: Int32

    init(call: String, code: Int32 = errno) {
        self.call = call
        self.code = code
    }

    var description: String { "\(call): \(String(cString: strerror(code)))" }
}

/// A connected Unix socket.
struct Connection: ~Copyable {
    private let descriptor: Int32

    init(_ path: String) throws(SystemFailure) { descriptor = try Self.connected(to: path) }

    private static func connected(to path: String) throws(SystemFailure) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SystemFailure(call: "connect", code: ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemFailure(call: "socket") }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            let failure = SystemFailure(call: "connect")
            close(descriptor)
            throw failure
        }
        // The agent answers in milliseconds; runtimes give up after a few minutes.
        var patience = timeval(tv_sec: 100, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        return descriptor
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8], descriptor passed: Int32?) throws(SystemFailure) {
        var descriptors: [Int32] = passed.map { [$0] } ?? []
        let count = descriptors.count
        guard catbird_send_with_fds(descriptor, bytes, bytes.count, &descriptors, count) == 0 else {
            throw SystemFailure(call: "sendmsg")
        }
    }

    func receive(_ count: Int) throws(SystemFailure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress?.advanced(by: done), count - done, 0)
            }
            if got > 0 {
                done += got
            } else if got == 0 {
                throw SystemFailure(call: "recv", code: ECONNRESET)
            } else if errno != EINTR {
                throw SystemFailure(call: "recv")
            }
        }
        return bytes
    }
}

/// Standard input.
enum Input {
    static func readAll(limit: Int) throws(SystemFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16384)
        while bytes.count <= limit {
            let got = chunk.withUnsafeMutableBytes { read(0, $0.baseAddress, $0.count) }
            if got == 0 { return bytes }
            if got > 0 { bytes += chunk[..<got] } else if errno != EINTR { throw SystemFailure(call: "read") }
        }
        throw SystemFailure(call: "read", code: EFBIG)
    }
}

/// Standard output.
enum Output {
    static func write(_ bytes: [UInt8]) {
        var done = 0
        bytes.withUnsafeBytes { space in
            while done < space.count {
                let written = Glibc.write(1, space.baseAddress?.advanced(by: done), space.count - done)
                if written > 0 { done += written } else if errno != EINTR { return }
            }
        }
    }
}
