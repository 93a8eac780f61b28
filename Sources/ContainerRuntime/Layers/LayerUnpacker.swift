// SPDX-License-Identifier: Apache-2.0

import CArchive
import Glibc
import Linux

/// How far an archive may go.
struct UnpackLimits {
    var bytes = 64 << 30
    var entries = 2_000_000
    /// Whiteouts are turned into the kernel's; off for archives that are not layers.
    var whiteouts = true
}

/// Unpacks a tar stream into a folder, with no trust in what the tar says.
///
/// Every path is resolved by the kernel with the folder as its root (openat2, RESOLVE_IN_ROOT): what is absolute, a
/// name, a hard link's target or a symbolic link on the way, means inside the image, as it does in a container, and
/// nothing leads out. Names with `..` are refused. Device nodes are left out: a runtime gives containers their devices.
/// Of extended attributes only those are kept that mean nothing to the overlay file system.
struct LayerUnpacker {
    private let root: FileDescriptorBox
    private let limits: UnpackLimits
    /// What was left out, in words.
    private(set) var notes: [String] = []
    private var written = 0
    private var entries = 0
    private var parent: (path: [UInt8], fd: FileDescriptorBox)?
    private var folders: [(path: [UInt8], modified: timespec)] = []

    /// Closes when the last copy goes.
    private final class FileDescriptorBox {
        let fd: Int32
        init(_ fd: Int32) { self.fd = fd }
        deinit { close(fd) }
    }

    init(into folder: String, limits: UnpackLimits = UnpackLimits()) throws(Errno) {
        root = FileDescriptorBox(try FileDescriptor.open(folder, O_RDONLY | O_DIRECTORY).take())
        self.limits = limits
    }

    /// Reads all entries. The digest of the tar is the file's afterwards.
    mutating func unpack(_ file: DecompressedFile) throws {
        let reader = try TarReader(file)
        while let entry = try reader.next() {
            entries += 1
            guard entries <= limits.entries else { throw ArchiveDamage(reason: "more than \(limits.entries) entries") }
            try unpack(entry, reader)
        }
        try file.drain(limit: limits.bytes)
        parent = nil
        // The innermost first: making an entry changes the time of the folder that it is in.
        for folder in folders.reversed() {
            guard let (directory, name) = try? place(folder.path) else { continue }
            var times = [folder.modified, folder.modified]
            utimensat(directory.fd, name.cString, &times, AT_SYMLINK_NOFOLLOW)
        }
    }

    /// For messages alone: names in archives are bytes.
    private static func text(_ path: [UInt8]) -> String { FileName(path).description }

    /// The path's parts without `.`, from the root of the image; throws for `..`.
    private static func parts(_ path: [UInt8], _ what: String) throws -> [ArraySlice<UInt8>] {
        if path.contains(0) { throw ArchiveDamage(reason: "\(what) holds a zero byte") }
        let parts = path.split(separator: UInt8(ascii: "/")).filter { $0 != [UInt8(ascii: ".")] }
        if parts.contains([UInt8(ascii: "."), UInt8(ascii: ".")]) {
            throw ArchiveDamage(reason: "\(what) \"\(text(path))\" leads upwards (..)")
        }
        guard path.count < 4096, parts.allSatisfy({ $0.count <= 255 }) else {
            throw ArchiveDamage(reason: "\(what) is too long: \"\(text(path).prefix(80))...\"")
        }
        return parts
    }

    /// Opens the folder that an entry belongs into, making it if need be, and gives the entry's name in it.
    private mutating func place(_ path: [UInt8]) throws -> (FileDescriptorBox, FileName) {
        let parts = try Self.parts(path, "entry")
        guard let last = parts.last else { return (root, FileName(".")) }
        let above = Array(parts.dropLast().joined(separator: [UInt8(ascii: "/")]))
        if above.isEmpty { return (root, FileName(last)) }
        if let parent, parent.path == above { return (parent.fd, FileName(last)) }
        let folder = try openFolder(Array(parts.dropLast()), of: path)
        parent = (above, folder)
        return (folder, FileName(last))
    }

    private func openFolder(_ parts: [ArraySlice<UInt8>], of path: [UInt8]) throws -> FileDescriptorBox {
        do throws(Errno) { return try openInside(parts) } catch {
            guard error.code == ENOENT else { throw Self.refusal(path, error.code) }
        }
        // Tars need not name the folders above an entry, nor those that a symbolic link of theirs leads to.
        var current = root
        var done: [ArraySlice<UInt8>] = []
        var rest = parts[...]
        var links = 0
        while let name = rest.popFirst() {
            do throws(Errno) { current = try openInside(done + [name]) } catch {
                guard error.code == ENOENT else { throw Self.refusal(path, error.code) }
                let file = FileName(name)
                if mkdirat(current.fd, file.cString, 0o755) == 0 {
                    // Whatever the umask is.
                    fchmodat(current.fd, file.cString, 0o755, 0)
                } else {
                    guard errno == EEXIST else { throw Errno("mkdir", Self.text(path)) }
                    links += 1
                    guard links < 40 else { throw Self.refusal(path, ELOOP) }
                    let target = try Self.target(of: file, in: current.fd, path)
                    if target.first == UInt8(ascii: "/") { (done, current) = ([], root) }
                    rest = (target.split(separator: UInt8(ascii: "/")) + rest)[...]
                    continue
                }
                do throws(Errno) { current = try openInside(done + [name]) } catch {
                    throw Self.refusal(path, error.code)
                }
            }
            done.append(name)
        }
        return current
    }

    private func openInside(_ parts: [ArraySlice<UInt8>]) throws(Errno) -> FileDescriptorBox {
        let name = parts.isEmpty ? FileName(".") : FileName(parts.joined(separator: [UInt8(ascii: "/")]))
        return FileDescriptorBox(try Files.folder(name, beneath: root.fd, links: .asInRoot).take())
    }

    private static func target(of name: FileName, in folder: Int32, _ path: [UInt8]) throws -> [UInt8] {
        var target = [UInt8](repeating: 0, count: 4096)
        let count = target.withUnsafeMutableBytes { space in
            space.baseAddress.map {
                readlinkat(folder, name.cString, $0.assumingMemoryBound(to: CChar.self), space.count)
            } ?? -1
        }
        guard count > 0 else { throw refusal(path, ENOTDIR) }
        return Array(target.prefix(count))
    }

    private static func refusal(_ path: [UInt8], _ code: Int32) -> any Error {
        switch code {
        case ELOOP: ArchiveDamage(reason: "entry \"\(text(path))\" lies below symbolic links that lead in a circle")
        case ENOTDIR: ArchiveDamage(reason: "entry \"\(text(path))\" lies below what is not a folder")
        default: Errno(code: code, call: "openat2", detail: text(path))
        }
    }

    private mutating func unpack(_ entry: TarEntry, _ reader: TarReader) throws {
        let path = entry.path
        guard !path.isEmpty else { throw ArchiveDamage(reason: "an entry has no name") }
        let (directory, name) = try place(path)
        if limits.whiteouts, name.bytes.starts(with: Self.whiteoutMark) { return try whiteout(path, directory, name) }
        let kind = entry.kind
        if let target = entry.hardLink { return try link(path, directory, name, to: target) }
        switch kind {
        case UInt32(CATBIRD_FOLDER): try makeFolder(entry, path, directory, name)
        case UInt32(CATBIRD_FILE), 0: try makeFile(entry, path, directory, name, reader)
        case UInt32(CATBIRD_SYMBOLIC_LINK):
            guard let target = entry.symbolicLink, !target.isEmpty, !target.contains(0), target.count < 4096 else {
                throw ArchiveDamage(reason: "symbolic link \"\(Self.text(path))\" has no usable target")
            }
            try clear(path, directory, name)
            guard symlinkat(FileName(target).cString, directory.fd, name.cString) == 0 else {
                throw Errno("symlink", Self.text(path))
            }
            fchownat(directory.fd, name.cString, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW)
            var times = [entry.modified, entry.modified]
            utimensat(directory.fd, name.cString, &times, AT_SYMLINK_NOFOLLOW)
        case UInt32(CATBIRD_PIPE):
            try clear(path, directory, name)
            guard mkfifoat(directory.fd, name.cString, entry.permissions) == 0 else {
                throw Errno("mkfifo", Self.text(path))
            }
            fchownat(directory.fd, name.cString, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW)
            fchmodat(directory.fd, name.cString, entry.permissions, 0)
        case UInt32(CATBIRD_CHARACTER_DEVICE), UInt32(CATBIRD_BLOCK_DEVICE):
            notes.append("device node \"\(Self.text(path))\" left out")
        default: notes.append("\"\(Self.text(path))\" is neither file, folder nor link: left out")
        }
    }

    private static let whiteoutMark = Array(".wh.".utf8)

    /// Turns the marks of a layer's tar into those of the overlay file system.
    private mutating func whiteout(_ path: [UInt8], _ directory: FileDescriptorBox, _ name: FileName) throws {
        if name == FileName(".wh..wh..opq") {
            let own = "/proc/self/fd/\(directory.fd)/."
            guard catbird_set_path_xattr(own, "trusted.overlay.opaque", "y", 1) == 0 else {
                throw Errno("setxattr trusted.overlay.opaque", Self.text(path))
            }
            return
        }
        // Others that begin so are AUFS's own bookkeeping.
        if name.bytes.starts(with: Self.whiteoutMark + Self.whiteoutMark) { return }
        let hidden = FileName(name.bytes.dropFirst(Self.whiteoutMark.count))
        guard ![FileName(""), FileName("."), FileName("..")].contains(hidden) else {
            throw ArchiveDamage(reason: "whiteout \"\(Self.text(path))\" names nothing")
        }
        var info = stat()
        if fstatat(directory.fd, hidden.cString, &info, AT_SYMLINK_NOFOLLOW) == 0 { return }
        guard catbird_mknod_at(directory.fd, hidden.cString, UInt32(CATBIRD_CHARACTER_DEVICE), 0, 0) == 0 else {
            throw Errno("mknod", Self.text(path))
        }
    }

    /// A later entry of the same name takes the earlier one's place.
    private func clear(_ path: [UInt8], _ directory: FileDescriptorBox, _ name: FileName) throws {
        guard name != FileName(".") else { throw ArchiveDamage(reason: "the archive's root is not a folder in it") }
        if unlinkat(directory.fd, name.cString, 0) == 0 || errno == ENOENT { return }
        if errno == EISDIR || errno == EPERM, unlinkat(directory.fd, name.cString, AT_REMOVEDIR) == 0 { return }
        if errno == ENOTEMPTY {
            throw ArchiveDamage(reason: "\"\(Self.text(path))\" is a folder and, later, something else")
        }
        throw Errno("unlink", Self.text(path))
    }

    private mutating func makeFolder(
        _ entry: TarEntry, _ path: [UInt8], _ directory: FileDescriptorBox, _ name: FileName
    ) throws {
        if name != FileName("."), mkdirat(directory.fd, name.cString, 0o700) != 0 {
            var info = stat()
            guard errno == EEXIST, fstatat(directory.fd, name.cString, &info, AT_SYMLINK_NOFOLLOW) == 0 else {
                throw Errno("mkdir", Self.text(path))
            }
            if info.st_mode & 0o170000 != UInt32(CATBIRD_FOLDER) {
                try clear(path, directory, name)
                guard mkdirat(directory.fd, name.cString, 0o700) == 0 else { throw Errno("mkdir", Self.text(path)) }
            }
        }
        let folder: FileDescriptor
        do throws(Errno) {
            folder = try Files.open(
                name, beneath: directory.fd, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, links: .withinFolder)
        } catch { throw Self.refusal(path, error.code) }
        try finish(entry, path, folder.rawValue)
        folders.append((path, entry.modified))
    }

    private mutating func makeFile(
        _ entry: TarEntry, _ path: [UInt8], _ directory: FileDescriptorBox, _ name: FileName, _ reader: TarReader
    ) throws {
        try clear(path, directory, name)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
        let file = try Files.open(name, beneath: directory.fd, flags, links: .withinFolder)
        let fd = file.rawValue
        let limit = limits.bytes
        var total = written
        var end = 0
        try reader.data { offset, bytes in
            let (sum, overflow) = total.addingReportingOverflow(bytes.count)
            guard !overflow, sum <= limit, offset >= 0, offset <= limit else {
                throw ArchiveDamage(reason: "more than \(limit) bytes when unpacked")
            }
            total = sum
            end = max(end, offset + bytes.count)
            var done = 0
            while done < bytes.count {
                let count = pwrite(fd, bytes.baseAddress?.advanced(by: done), bytes.count - done, off_t(offset + done))
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw Errno("write", Self.text(path)) }
                done += count
            }
        }
        written = total
        // A sparse file may end in a hole.
        if entry.size > end {
            guard entry.size <= limit, ftruncate(fd, off_t(entry.size)) == 0 else {
                throw ArchiveDamage(reason: "\"\(Self.text(path))\" claims \(entry.size) bytes")
            }
        }
        try finish(entry, path, fd)
        var times = [entry.modified, entry.modified]
        futimens(fd, &times)
    }

    /// Owner, permissions, attributes: in this order, for chown takes the set-user-ID bit and capabilities away.
    private mutating func finish(_ entry: TarEntry, _ path: [UInt8], _ fd: Int32) throws {
        if fchown(fd, entry.uid, entry.gid) != 0, geteuid() == 0 { throw Errno("chown", Self.text(path)) }
        guard fchmod(fd, entry.permissions) == 0 else { throw Errno("chmod", Self.text(path)) }
        for (name, value) in entry.extendedAttributes {
            guard name == "security.capability" || name.hasPrefix("user.") else {
                notes.append("attribute \(name) of \"\(Self.text(path))\" left out")
                continue
            }
            if catbird_set_xattr(fd, name, value, value.count) != 0, errno != ENOTSUP, errno != EPERM {
                throw Errno("setxattr \(name)", Self.text(path))
            }
        }
    }

    private mutating func link(
        _ path: [UInt8], _ directory: FileDescriptorBox, _ name: FileName, to target: [UInt8]
    ) throws {
        let parts = try Self.parts(target, "the target of hard link \"\(Self.text(path))\":")
        guard let last = parts.last else {
            throw ArchiveDamage(reason: "hard link \"\(Self.text(path))\" has no target")
        }
        let folder: FileDescriptorBox
        do throws(Errno) { folder = try openInside(Array(parts.dropLast())) } catch {
            throw error.code == ENOENT ? Self.dangling(path, target) : Self.refusal(target, error.code)
        }
        let targetName = FileName(last)
        var info = stat()
        guard fstatat(folder.fd, targetName.cString, &info, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw Self.dangling(path, target)
        }
        guard [UInt32(CATBIRD_FILE), UInt32(CATBIRD_SYMBOLIC_LINK)].contains(info.st_mode & 0o170000) else {
            throw ArchiveDamage(
                reason: "hard link \"\(Self.text(path))\" to \"\(Self.text(target))\", which is not a file")
        }
        // The same file under its own name, on whatever way: clearing the name would lose it.
        var own = stat()
        if fstatat(directory.fd, name.cString, &own, AT_SYMLINK_NOFOLLOW) == 0, own.st_dev == info.st_dev,
            own.st_ino == info.st_ino
        {
            return
        }
        try clear(path, directory, name)
        guard linkat(folder.fd, targetName.cString, directory.fd, name.cString, 0) == 0 else {
            throw Errno("link", Self.text(path))
        }
    }

    private static func dangling(_ path: [UInt8], _ target: [UInt8]) -> ArchiveDamage {
        ArchiveDamage(reason: "hard link \"\(text(path))\" to \"\(text(target))\", which is not in the archive")
    }
}
