// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// A call on a file failed.
package struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
    package let call: String
    package let path: String
    package let code: Int32

    package init(call: String, path: String, code: Int32) {
        self.call = call
        self.path = path
        self.code = code
    }

    package var description: String { "\(call) \(path): \(String(cString: strerror(code)))" }
}

/// The few calls on files that the kubelet makes.
package enum NodeFiles {
    static func check(_ result: Int32, _ call: String, _ path: String) throws(FileError) {
        if result != 0 { throw FileError(call: call, path: path, code: errno) }
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    package enum Kind: Sendable { case file, directory, socket, characterDevice, blockDevice, link, other }

    /// What is at a path; nil when nothing is.
    package static func kind(_ path: String, followLinks: Bool = true) -> Kind? {
        var info = stat()
        guard (followLinks ? stat(path, &info) : lstat(path, &info)) == 0 else { return nil }
        return kind(info)
    }

    static func kind(_ info: stat) -> Kind {
        switch info.st_mode & S_IFMT {
        case S_IFREG: .file
        case S_IFDIR: .directory
        case S_IFSOCK: .socket
        case S_IFCHR: .characterDevice
        case S_IFBLK: .blockDevice
        case S_IFLNK: .link
        default: .other
        }
    }

    /// Makes a directory and those above it. An existing one keeps its mode.
    package static func makeDirectory(_ path: String, mode: UInt32 = 0o755) throws(FileError) {
        if mkdir(path, mode) == 0 { return }
        let code = errno
        if code == EEXIST {
            guard kind(path) == .directory else { throw FileError(call: "mkdir", path: path, code: ENOTDIR) }
            return
        }
        guard code == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw FileError(call: "mkdir", path: path, code: code)
        }
        try makeDirectory(String(path[..<slash]))
        if mkdir(path, mode) != 0, errno != EEXIST { throw FileError(call: "mkdir", path: path, code: errno) }
    }

    package static func write(_ bytes: [UInt8], to path: String, mode: UInt32 = 0o644) throws(FileError) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard file >= 0 else { throw FileError(call: "open", path: path, code: errno) }
        defer { close(file) }
        try check(fchmod(file, mode), "chmod", path)
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw FileError(call: "write", path: path, code: errno) }
            offset += count
        }
    }

    /// Up to `limit` bytes from the start; nil when the file cannot be read.
    package static func read(_ path: String, limit: Int = 16 << 20) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { return nil }
        defer { close(file) }
        return read(file, at: nil, count: limit)
    }

    static func read(_ file: Int32, at offset: Int?, count: Int) -> [UInt8]? {
        if let offset, lseek(file, offset, SEEK_SET) < 0 { return nil }
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(65536, max(count, 1)))
        while result.count < count {
            let got = chunk.withUnsafeMutableBytes {
                Glibc.read(file, $0.baseAddress, min($0.count, count - result.count))
            }
            if got < 0, errno == EINTR { continue }
            if got < 0 { return nil }
            if got == 0 { break }
            result += chunk[..<got]
        }
        return result
    }

    package static func text(_ path: String) -> String? { read(path).map { String(decoding: $0, as: UTF8.self) } }

    /// The names in a directory, sorted; empty when it is not there. Names that are no text are left out: the kubelet
    /// made none of them, and no path can be made of them.
    package static func list(_ path: String) -> [String] {
        ((try? Files.list(path)) ?? []).compactMap(\.fileName.text)
    }

    package static func link(_ path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { readlink(path, $0.assumingMemoryBound(to: CChar.self), bytes.count) } ?? -1
        }
        return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// Removes a file, or a directory with what is in it, whatever it is called and however deep it is, never following
    /// links and never leaving a file system.
    ///
    /// - Parameter detachingMounts: what is mounted below is let go, and stays as it is; otherwise it is an error.
    package static func removeTree(_ path: String, detachingMounts: Bool = false) throws(FileError) {
        do throws(Errno) { try Files.removeTree(path, detachingMounts: detachingMounts) } catch {
            throw FileError(call: error.call, path: error.detail, code: error.code)
        }
    }
}
