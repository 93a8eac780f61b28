// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// The few operations on files that need no Foundation.
public enum Files {
    public enum Kind: Sendable, Hashable {
        case file, directory, symbolicLink, socket, pipe, characterDevice, blockDevice
    }

    /// One entry of a folder.
    public struct Entry: Sendable, Hashable {
        public let name: String
        /// Nil when the file system does not tell.
        public let kind: Kind?
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
        if mkdir(path, mode) == 0 { return }
        switch errno {
        case EEXIST where kind(path, follow: true) == .directory: return
        case ENOENT:
            let parent = directory(of: path)
            guard parent != path else { throw Errno(code: ENOENT, call: "mkdir", detail: path) }
            try makeDirectories(parent, mode: mode)
            if mkdir(path, mode) == 0 || errno == EEXIST { return }
            throw Errno("mkdir", path)
        default: throw Errno("mkdir", path)
        }
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
        switch info.st_mode & S_IFMT {
        case S_IFDIR: return .directory
        case S_IFLNK: return .symbolicLink
        case S_IFSOCK: return .socket
        case S_IFIFO: return .pipe
        case S_IFCHR: return .characterDevice
        case S_IFBLK: return .blockDevice
        default: return .file
        }
    }

    /// The entries of a folder but `.` and `..`, by name.
    public static func list(_ path: String) throws(Errno) -> [Entry] {
        guard let stream = opendir(path) else { throw Errno("opendir", path) }
        defer { closedir(stream) }
        var result: [Entry] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            let kind: Kind? =
                switch Int(entry.pointee.d_type) {
                case 4: .directory
                case 8: .file
                case 10: .symbolicLink
                case 12: .socket
                case 1: .pipe
                case 2: .characterDevice
                case 6: .blockDevice
                default: Files.kind("\(path)/\(name)")
                }
            result.append(Entry(name: name, kind: kind))
        }
        return result.sorted { $0.name < $1.name }
    }

    /// Removes a file or a folder with all in it; nothing there is no error. Symbolic links are not followed and
    /// mounted file systems are not entered: what is mounted below makes it fail with `EBUSY`.
    public static func removeTree(_ path: String) throws(Errno) {
        var info = stat()
        guard lstat(path, &info) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return }
            throw Errno("lstat", path)
        }
        try removeTree(path, device: info.st_dev, isDirectory: info.st_mode & S_IFMT == S_IFDIR)
    }

    private static func removeTree(_ path: String, device: dev_t, isDirectory: Bool) throws(Errno) {
        guard isDirectory else {
            if unlink(path) == 0 || errno == ENOENT { return }
            throw Errno("unlink", path)
        }
        var info = stat()
        guard lstat(path, &info) == 0 else {
            if errno == ENOENT { return }
            throw Errno("lstat", path)
        }
        guard info.st_dev == device else {
            throw Errno(code: EBUSY, call: "rmdir", detail: "\(path) (another file system is mounted there)")
        }
        for entry in try list(path) {
            try removeTree("\(path)/\(entry.name)", device: device, isDirectory: entry.kind == .directory)
        }
        if rmdir(path) == 0 || errno == ENOENT { return }
        throw Errno("rmdir", path)
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
