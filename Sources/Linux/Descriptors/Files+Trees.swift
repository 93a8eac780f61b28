// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

extension Files {
    /// Removes a file or a folder with all in it; nothing there is no error. Symbolic links below the folder that holds
    /// it are not followed.
    ///
    /// The tree is walked by descriptors and its names are bytes: neither a name that is no text nor a folder deeper
    /// than a path can name keeps it.
    ///
    /// - Parameter detachingMounts: what is mounted on the way is let go, and what is in it stays as it is. Without it
    ///   a mount below makes the removal fail with `EBUSY`; it is never entered. A mount at `path` itself is emptied,
    ///   and stays, with the same error.
    public static func removeTree(_ path: String, detachingMounts: Bool = false) throws(Errno) {
        var bytes = Array(path.utf8)
        while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
        let slash = bytes.lastIndex(of: UInt8(ascii: "/"))
        let last = bytes[(slash.map { $0 + 1 } ?? 0)...]
        guard !last.isEmpty, !last.elementsEqual(".".utf8), !last.elementsEqual("..".utf8) else {
            throw Errno(code: EINVAL, call: "unlink", detail: path)
        }
        let folder: FileDescriptor
        do throws(Errno) {
            let above = slash.map { $0 == 0 ? "/" : String(decoding: bytes[..<$0], as: UTF8.self) } ?? "."
            folder = try FileDescriptor.open(above, Int32(CATBIRD_OPEN_PATH) | O_DIRECTORY)
        } catch  where error.code == ENOENT || error.code == ENOTDIR { return }
        try removeTree(FileName(last), in: folder.rawValue, at: path, detachingMounts: detachingMounts)
    }

    /// The same for an entry of an open folder. `path` is for messages.
    public static func removeTree(
        _ name: FileName, in folder: Int32, at path: String, detachingMounts: Bool = false
    ) throws(Errno) {
        var removal = TreeRemoval(path: path, detachesMounts: detachingMounts)
        try removal.run(name, in: folder)
    }

    /// The entries of an open folder but `.` and `..`, in the order the file system has them. `descriptor` stays the
    /// caller's.
    package static func entries(ofFolder descriptor: Int32, path: @autoclosure () -> String) throws(Errno) -> [Entry] {
        let own = try check("openat", path()) { catbird_openat(descriptor, ".", O_RDONLY | O_DIRECTORY, 0) }
        guard let stream = fdopendir(own) else {
            let error = Errno("fdopendir", path())
            close(own)
            throw error
        }
        defer { closedir(stream) }
        var result: [Entry] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw Errno("readdir", path()) }
                return result
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { FileName($0) }
            if name.cString == [0x2E, 0] || name.cString == [0x2E, 0x2E, 0] { continue }
            result.append(Entry(fileName: name, kind: Kind(entryType: Int(entry.pointee.d_type))))
        }
    }
}

/// The walk of one removal. Only the folder it is in is open, however deep that is; the way back up is checked.
private struct TreeRemoval {
    private struct Level {
        let name: FileName
        let device: dev_t
        let inode: ino_t
        var folders: [FileName] = []
    }

    let path: String
    let detachesMounts: Bool
    private var levels: [Level] = []

    init(path: String, detachesMounts: Bool) {
        self.path = path
        self.detachesMounts = detachesMounts
    }

    /// Where it is, short enough for a message.
    private func place(_ name: FileName? = nil) -> String {
        let below = levels.dropFirst().map(\.name) + (name.map { [$0] } ?? [])
        let isRoot = levels.isEmpty || below.isEmpty
        let shown = isRoot ? [] : below.count > 8 ? below.prefix(4) + [FileName("...")] + below.suffix(3) : below
        return ([path] + shown.map(\.description)).joined(separator: "/")
    }

    mutating func run(_ name: FileName, in folder: Int32) throws(Errno) {
        guard var current = try unlinkOrEnter(name, in: folder) else { return }
        while true {
            if let next = levels[levels.count - 1].folders.popLast() {
                if let below = try unlinkOrEnter(next, in: current.rawValue) { current = below }
                continue
            }
            let done = levels.removeLast()
            guard let above = levels.last else {
                _ = consume current
                return try removeFolder(done.name, in: folder)
            }
            current = try climb(from: current.rawValue, to: above)
            try removeFolder(done.name, in: current.rawValue)
        }
    }

    private func climb(from folder: Int32, to above: Level) throws(Errno) -> FileDescriptor {
        let parent = FileDescriptor(
            owning: try check("openat", place()) {
                catbird_openat2(folder, "..", O_RDONLY | O_DIRECTORY, 0, UInt64(CATBIRD_RESOLVE_NO_XDEV))
            })
        var info = stat()
        try check("fstat", place()) { fstat(parent.rawValue, &info) }
        guard info.st_dev == above.device, info.st_ino == above.inode else {
            throw Errno(code: ESTALE, call: "openat", detail: "\(place()) (moved elsewhere while it was being removed)")
        }
        return parent
    }

    /// Removes what is no folder; of a folder it removes all that is no folder and returns it, open.
    private mutating func unlinkOrEnter(_ name: FileName, in folder: Int32) throws(Errno) -> FileDescriptor? {
        while true {
            if unlinkat(folder, name.cString, 0) == 0 || errno == ENOENT { return nil }
            if errno == EBUSY, try detach(name, in: folder) { continue }
            guard errno == EISDIR || errno == EPERM else { throw Errno("unlink", place(name)) }
            let code = errno
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
            // What was named may be a file system of its own: then that is emptied.
            let isNamed = levels.isEmpty && !detachesMounts
            let fd = catbird_openat2(folder, name.cString, flags, 0, isNamed ? 0 : UInt64(CATBIRD_RESOLVE_NO_XDEV))
            if fd < 0 {
                switch errno {
                case ENOENT: return nil
                // Of some file systems EPERM says "a folder", of others what it says.
                case ENOTDIR, ELOOP: throw Errno(code: code, call: "unlink", detail: place(name))
                case EXDEV:
                    if try detach(name, in: folder) { continue }
                    throw Errno(
                        code: EBUSY, call: "rmdir", detail: "\(place(name)) (something is mounted there)")
                default: throw Errno("openat", place(name))
                }
            }
            let opened = FileDescriptor(owning: fd)
            try enter(name, opened.rawValue)
            return opened
        }
    }

    private mutating func enter(_ name: FileName, _ descriptor: Int32) throws(Errno) {
        var info = stat()
        try check("fstat", place(name)) { fstat(descriptor, &info) }
        levels.append(Level(name: name, device: info.st_dev, inode: info.st_ino))
        var folders: [FileName] = []
        for entry in try Files.entries(ofFolder: descriptor, path: place()) {
            if entry.kind != .directory, unlinkat(descriptor, entry.fileName.cString, 0) == 0 || errno == ENOENT {
                continue
            }
            // A folder, or what needs a closer look.
            folders.append(entry.fileName)
        }
        levels[levels.count - 1].folders = folders
    }

    private func removeFolder(_ name: FileName, in folder: Int32) throws(Errno) {
        if unlinkat(folder, name.cString, AT_REMOVEDIR) == 0 || errno == ENOENT { return }
        throw Errno("rmdir", place(name))
    }

    /// Lets go what is mounted at an entry; false when that is not wanted.
    private func detach(_ name: FileName, in folder: Int32) throws(Errno) -> Bool {
        guard detachesMounts else {
            errno = EBUSY
            return false
        }
        let mounted = FileDescriptor(
            owning: try check("openat", place(name)) {
                catbird_openat(folder, name.cString, Int32(CATBIRD_OPEN_PATH) | O_NOFOLLOW, 0)
            })
        // By descriptor: the mount may lie deeper than a path can name.
        try check("umount2", place(name)) { umount2("/proc/self/fd/\(mounted.rawValue)", Int32(MNT_DETACH)) }
        return true
    }
}
