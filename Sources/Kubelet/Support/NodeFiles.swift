// SPDX-License-Identifier: Apache-2.0

import Glibc
package import Linux

/// A call on a file failed.
package typealias FileError = Errno

extension Errno {
    package init(call: String, path: String, code: Int32) { self.init(code: code, call: call, detail: path) }
}

/// `Files` in the forms that the kubelet needs: nil for what is not there, files written where they are, names as text.
package enum NodeFiles {
    static func check(_ result: Int32, _ call: String, _ path: String) throws(FileError) {
        if result != 0 { throw FileError(call: call, path: path, code: errno) }
    }

    package static func exists(_ path: String) -> Bool { Files.exists(path) }

    /// What is at a path; nil when nothing is.
    package static func kind(_ path: String, followLinks: Bool = true) -> Files.Kind? {
        Files.kind(path, follow: followLinks)
    }

    /// Makes a directory and those above it, which are open to all. An existing one keeps its mode.
    package static func makeDirectory(_ path: String, mode: UInt32 = 0o755) throws(FileError) {
        try Files.makeDirectories(Files.directory(of: path))
        try Files.makeDirectories(path, mode: mode)
    }

    /// Writes in place: what a container has mounted stays the file that it is.
    package static func write(_ bytes: [UInt8], to path: String, mode: UInt32 = 0o644) throws(FileError) {
        let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        // Whatever the file mask is.
        try check(fchmod(file.rawValue, mode), "chmod", path)
        do { try file.write(bytes) } catch { throw FileError(call: error.call, path: path, code: error.code) }
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

    /// Where a link points; nil when there is none.
    package static func link(_ path: String) -> String? { try? Files.target(ofLink: path) }

    /// Removes a file, or a directory with what is in it, whatever it is called and however deep it is, never following
    /// links and never leaving a file system.
    ///
    /// - Parameter detachingMounts: what is mounted below is let go, and stays as it is; otherwise it is an error.
    package static func removeTree(_ path: String, detachingMounts: Bool = false) throws(FileError) {
        try Files.removeTree(path, detachingMounts: detachingMounts)
    }
}
