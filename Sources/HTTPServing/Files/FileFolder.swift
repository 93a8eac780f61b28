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

    package init(root: String) { self.root = root }

    /// What a decoded path means, of which `prefix` is the folder itself.
    package func look(_ path: String, below prefix: String) -> Found {
        let parts = path.dropFirst(prefix.count).split(separator: "/")
        guard path.hasPrefix(prefix), !parts.contains(where: { $0 == ".." || $0.utf8.contains(0) }) else {
            return .nothing
        }
        guard let file = OpenFile(([root[...]] + parts).joined(separator: "/")), isInside(file.descriptor) else {
            return .nothing
        }
        switch file.kind {
        case S_IFREG: return .file(file)
        case S_IFDIR:
            guard path.hasSuffix("/") else { return .redirect(String(path.split(separator: "/").last ?? "") + "/") }
            return .listing(listing(file.descriptor))
        default: return .nothing
        }
    }

    /// Where an open file really is: links have been followed by then, and nobody can change them any more.
    private func isInside(_ descriptor: CInt) -> Bool {
        guard let there = Self.target("/proc/self/fd/\(descriptor)"), let real = realpath(root, nil) else {
            return false
        }
        defer { free(real) }
        let own = String(cString: real)
        return there == own || there.hasPrefix(own == "/" ? own : own + "/")
    }

    private static func target(_ link: String) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink(link, &buffer, buffer.count - 1)
        return count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }

    private func listing(_ descriptor: CInt) -> String {
        var names: [String] = []
        if let folder = fdopendir(dup(descriptor)) {
            while let entry = readdir(folder) {
                let isFolder = entry.pointee.d_type == UInt8(DT_DIR)
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name != ".", name != ".." { names.append(isFolder ? name + "/" : name) }
            }
            closedir(folder)
        }
        let lines = names.sorted().map { name in
            "<a href=\"\(PercentCoding.encoded(name, allowing: "/"))\">\(Self.escaped(name))</a>\n"
        }
        return "<!doctype html>\n<pre>\n\(lines.joined())</pre>\n"
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

        fileprivate init?(_ path: String) {
            // Not held up by a pipe that nobody writes to.
            descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
            var info = stat()
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
