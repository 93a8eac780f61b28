// SPDX-License-Identifier: Apache-2.0

import Glibc

/// BIRD's control socket, as birdc uses it.
public enum BIRDControl {
    /// Where Calico has it.
    public static let usualPath = "/var/run/calico/bird.ctl"

    /// What BIRD answers to one command, which is a line. Blocks, at most `patience` for each part of the answer.
    public static func ask(
        _ path: String, _ command: String, patience: Duration = .seconds(5)
    ) throws(Errno) -> String {
        let socket = try UnixSocket.connect(path)
        try socket.setTimeout(patience)
        _ = try reply(socket, path)
        try socket.send(Array((command + "\n").utf8))
        return try reply(socket, path)
    }

    /// Up to a line whose code of four digits is followed by a space and is no part of a table: 0xxx is done, 8xxx and
    /// 9xxx are errors.
    private static func reply(_ socket: borrowing UnixSocket, _ path: String) throws(Errno) -> String {
        var bytes: [UInt8] = []
        while !isWhole(bytes) {
            let part = try socket.receive(upTo: 1 << 16).bytes
            guard !part.isEmpty, bytes.count < 16 << 20 else {
                throw Errno(code: ECONNRESET, call: "recvmsg", detail: "\(path): BIRD's answer ends half-way")
            }
            bytes += part
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func isWhole(_ bytes: [UInt8]) -> Bool {
        guard bytes.last == UInt8(ascii: "\n") else { return false }
        let start = bytes.dropLast().lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        let line = bytes[start...]
        guard line.count >= 5, line.prefix(4).allSatisfy({ (0x30...0x39).contains($0) }) else { return false }
        return line[start + 4] == UInt8(ascii: " ") && [0x30, 0x38, 0x39].contains(line[start])
    }
}
