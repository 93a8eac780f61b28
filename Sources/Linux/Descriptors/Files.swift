// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// The few operations on files that need no Foundation.
public enum Files {
    public enum Kind: Sendable, Hashable {
        case file, directory, symbolicLink, socket, pipe, characterDevice, blockDevice

        /// Of `st_mode`.
        public init(mode: UInt32) {
            self =
                switch mode & S_IFMT {
                case S_IFDIR: .directory
                case S_IFLNK: .symbolicLink
                case S_IFSOCK: .socket
                case S_IFIFO: .pipe
                case S_IFCHR: .characterDevice
                case S_IFBLK: .blockDevice
                default: .file
                }
        }

        /// Of the kernel's `d_type`, which not every file system fills in.
        init?(entryType: Int) {
            switch entryType {
            case 1: self = .pipe
            case 2: self = .characterDevice
            case 4: self = .directory
            case 6: self = .blockDevice
            case 8: self = .file
            case 10: self = .symbolicLink
            case 12: self = .socket
            default: return nil
            }
        }
    }

    /// One entry of a folder.
    public struct Entry: Sendable, Hashable {
        public let fileName: FileName
        /// Nil when the file system does not tell.
        public let kind: Kind?
        /// The name as text. Of a name that is no UTF-8 it is no more than something to show: no path can be made of
        /// it, and nothing is there if one is.
        public var name: String { fileName.text ?? fileName.description }
    }

    /// All of a file, with a limit to its size; what is no file but a pipe also has one to its time.
    public static func read(
        _ path: String, limit: Int = 64 << 20, patience: Duration = .seconds(10)
    ) throws(Errno) -> [UInt8] {
        // Without waiting: opening a pipe that nobody writes to would never return.
        let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
        do { return try file.readToEnd(limit: limit, patience: patience) } catch {
            throw Errno(code: error.code, call: error.call, detail: path)
        }
    }

    public static func text(_ path: String) throws(Errno) -> String {
        String(decoding: try read(path), as: UTF8.self)
    }

    /// Writes in place: for files of /proc, /sys and cgroups. For files on disk see ``replace(_:with:mode:durable:)``.
    public static func write(_ path: String, _ text: String) throws(Errno) {
        let file = try FileDescriptor.open(path, O_WRONLY)
        do { try file.write(text.utf8) } catch {
            throw Errno(code: error.code, call: error.call, detail: "\"\(text)\" to \(path)")
        }
    }

    /// Puts a file in place of `path` in one step: readers see the old bytes or the new ones, never half of them, and
    /// neither does a machine that lost power when `durable`.
    public static func replace(
        _ path: String, with bytes: some Collection<UInt8>, mode: UInt32 = 0o600, durable: Bool = true
    ) throws(Errno) {
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
        do throws(Errno) {
            let file = try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
            try file.write(bytes)
            try check("fchmod", temporary) { fchmod(file.rawValue, mode) }
            if durable { try check("fsync", temporary) { fsync(file.rawValue) } }
            try check("rename", path) { rename(temporary, path) }
        } catch {
            unlink(temporary)
            throw error
        }
        if durable {
            let folder = try FileDescriptor.open(directory(of: path), O_RDONLY | O_DIRECTORY)
            try check("fsync", path) { fsync(folder.rawValue) }
        }
    }

    /// The folder a path lies in.
    public static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Makes a folder and those above it. Existing ones stay as they are.
    public static func makeDirectories(_ path: String, mode: UInt32 = 0o755) throws(Errno) {
        // Somebody else may remove a folder as soon as it is there and empty; not again and again.
        for _ in 0..<16 {
            if mkdir(path, mode) == 0 { return }
            switch errno {
            case EEXIST:
                guard let found = kind(path, follow: true) else { continue }
                guard found == .directory else { throw Errno(code: EEXIST, call: "mkdir", detail: path) }
                return
            case ENOENT:
                let parent = directory(of: path)
                guard parent != path else { throw Errno(code: ENOENT, call: "mkdir", detail: path) }
                try makeDirectories(parent, mode: mode)
            default: throw Errno("mkdir", path)
            }
        }
        throw Errno("mkdir", path)
    }

    /// Makes an empty file if there is none: something to mount onto.
    public static func touch(_ path: String, mode: UInt32 = 0o600) throws(Errno) {
        _ = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_NONBLOCK, mode: mode)
    }

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Nil when there is nothing at `path`.
    public static func kind(_ path: String, follow: Bool = false) -> Kind? {
        var info = stat()
        guard (follow ? stat(path, &info) : lstat(path, &info)) == 0 else { return nil }
        return Kind(mode: info.st_mode)
    }

    /// The entries of a folder but `.` and `..`, by name.
    public static func list(_ path: String) throws(Errno) -> [Entry] {
        let folder = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
        return try entries(ofFolder: folder.rawValue, path: path).map { entry in
            if entry.kind != nil { return entry }
            return Entry(fileName: entry.fileName, kind: kind(entry.fileName, in: folder.rawValue))
        }.sorted { $0.fileName < $1.fileName }
    }

    private static func kind(_ name: FileName, in folder: Int32) -> Kind? {
        var info = stat()
        guard fstatat(folder, name.cString, &info, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
        return Kind(mode: info.st_mode)
    }

    public static func link(_ target: String, at path: String) throws(Errno) {
        try check("symlink", path) { symlink(target, path) }
    }

    /// Where a symbolic link points.
    public static func target(ofLink path: String) throws(Errno) -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes { space in
            space.baseAddress.map { readlink(path, $0.assumingMemoryBound(to: CChar.self), space.count) } ?? -1
        }
        guard count >= 0 else { throw Errno("readlink", path) }
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}

/// A lock on a file, held until it goes away. The kernel releases it when the holder dies.
public struct FileLock: ~Copyable, Sendable {
    public enum Mode: Sendable { case shared, exclusive }

    private let file: FileDescriptor

    /// Waits for the lock. The file is made if there is none.
    public init(_ path: String, _ mode: Mode = .exclusive) throws(Errno) {
        let opened = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
        let kind: CChar = mode == .exclusive ? 0x77 : 0x72
        let fd = opened.rawValue
        try check("fcntl(F_OFD_SETLKW)", path) { catbird_lock(fd, kind, 1) }
        file = opened
    }

    private init(file: consuming FileDescriptor) { self.file = file }

    /// Unlocked by name: closing alone leaves the lock with a child that was forked just now and has not executed its
    /// program yet.
    deinit { catbird_lock(file.rawValue, 0x75, 0) }

    /// Nil when someone else holds it.
    public static func tryLock(_ path: String, _ mode: Mode = .exclusive) throws(Errno) -> FileLock? {
        let file = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
        let kind: CChar = mode == .exclusive ? 0x77 : 0x72
        let result = catbird_lock(file.rawValue, kind, 0)
        let code = errno
        if result == 0 {
            return .some(FileLock(file: file))
        } else if code == EAGAIN {
            _ = consume file
            return nil
        } else {
            _ = consume file
            throw Errno(code: code, call: "fcntl(F_OFD_SETLK)", detail: path)
        }
    }
}
