// SPDX-License-Identifier: Apache-2.0

import Glibc
import Values

/// A folder of files that clients may look into: logs.
///
/// Nothing outside of it is shown, wherever links in it lead: who may write into the folder must not be able to show
/// what only the server may read.
package struct FileFolder: Sendable {
    package enum Found: Sendable {
        case nothing
        /// A folder whose path lacks its slash: relative links would lead elsewhere.
        case redirect(String)
        /// A page of HTML with the names in a folder.
        case listing(String)
        case file(OpenFile)
    }

    private let root: String

    /// O_PATH, which the C library keeps for itself.
    private static let nameOnly: CInt = 0o10000000

    package init(root: String) { self.root = root }

    /// What a decoded path means, of which `prefix` is the folder itself.
    package func look(_ path: String, below prefix: String) -> Found {
        let parts = path.dropFirst(prefix.count).split(separator: "/")
        guard path.hasPrefix(prefix), !parts.contains(where: { $0 == ".." || $0.utf8.contains(0) }) else {
            return .nothing
        }
        // Where it is and what it is is asked before it is opened: opening a device may be an act of its own.
        let found = open(([root[...]] + parts).joined(separator: "/"), Self.nameOnly | O_CLOEXEC)
        guard found >= 0 else { return .nothing }
        defer { close(found) }
        guard isInside(found), let file = OpenFile(found) else { return .nothing }
        switch file.kind {
        case S_IFREG: return .file(file)
        case S_IFDIR:
            guard path.hasSuffix("/") else { return .redirect(String(path.split(separator: "/").last ?? "") + "/") }
            return .listing(listing(file.descriptor))
        default: return .nothing
        }
    }

    /// Where an open file really is: links have been followed by then, and nobody can change them any more. Compared as
    /// bytes, which names are.
    private func isInside(_ descriptor: CInt) -> Bool {
        guard let there = Self.target("/proc/self/fd/\(descriptor)"), let real = realpath(root, nil) else {
            return false
        }
        defer { free(real) }
        let own = Array(String(cString: real).utf8)
        return there == own || there.starts(with: own.last == Self.slash ? own : own + [Self.slash])
    }

    private static let slash = UInt8(ascii: "/")

    private static func target(_ link: String) -> [UInt8]? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink(link, &buffer, buffer.count - 1)
        return count > 0 ? buffer[..<count].map { UInt8(bitPattern: $0) } : nil
    }

    private func listing(_ descriptor: CInt) -> String {
        var lines: [(name: [UInt8], line: String)] = []
        let own = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if own >= 0, let folder = fdopendir(own) {
            while let entry = readdir(folder) {
                var name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
                if name == Array(".".utf8) || name == Array("..".utf8) { continue }
                if entry.pointee.d_type == UInt8(DT_DIR) { name.append(Self.slash) }
                lines.append((name, Self.line(name)))
            }
            closedir(folder)
        }
        let text = lines.sorted { $0.name.lexicographicallyPrecedes($1.name) }.map(\.line).joined()
        return "<!doctype html>\n<pre>\n\(text)</pre>\n"
    }

    /// A name that is no UTF-8 has no address here: it is shown, and leads nowhere.
    private static func line(_ name: [UInt8]) -> String {
        guard let text = String(validating: name, as: UTF8.self) else {
            return escaped(String(decoding: name, as: UTF8.self)) + "\n"
        }
        return "<a href=\"\(PercentCoding.encoded(text, allowing: "/"))\">\(escaped(text))</a>\n"
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&#34;"
            default: result.append(character)
            }
        }
    }

    /// A file that is open for reading; closed with the last reference.
    package final class OpenFile: Sendable {
        fileprivate let descriptor: CInt
        fileprivate let kind: mode_t
        /// In bytes, when it was opened.
        package let size: Int

        /// Of a file or folder that is open by name only.
        fileprivate init?(_ found: CInt) {
            var info = stat()
            guard fstat(found, &info) == 0, [S_IFREG, S_IFDIR].contains(info.st_mode & S_IFMT) else {
                (descriptor, kind, size) = (-1, 0, 0)
                return nil
            }
            descriptor = open("/proc/self/fd/\(found)", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
            guard descriptor >= 0, fstat(descriptor, &info) == 0 else {
                (kind, size) = (0, 0)
                return nil
            }
            kind = info.st_mode & S_IFMT
            size = Int(info.st_size)
        }

        deinit { if descriptor >= 0 { close(descriptor) } }

        /// Hands on the bytes that were there when the file was opened, in pieces. Throws when there are fewer by now.
        package func read(_ emit: ([UInt8]) async throws -> Void) async throws {
            var left = size
            while left > 0 {
                let piece = [UInt8](unsafeUninitializedCapacity: min(left, 64 << 10)) { target, count in
                    count = max(Glibc.read(descriptor, target.baseAddress, target.count), 0)
                }
                guard !piece.isEmpty else { throw HTTPServingError("the file has become shorter") }
                left -= piece.count
                try await emit(piece)
            }
        }
    }
}
