// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// Paths below a folder that somebody else writes into: a container its volume, a pod the node's logs.
///
/// The kernel walks them and looks at every step, so that nobody can put a link in the way between a check and its use.
/// What comes back is a descriptor; a name would be walked again.
extension Files {
    public enum Links: Sendable {
        /// A link on the way, or at its end, is an error (`ELOOP`).
        case refused
        /// Links are followed as long as they stay below the folder; others are an error (`EXDEV`).
        case withinFolder
        /// Links are followed as if the folder were the root: absolute ones, and those that climb above it, too.
        case asInRoot
    }

    /// Opens what is at `path` below an open folder. `flags` as of open(2).
    public static func open(
        _ path: String, beneath folder: borrowing FileDescriptor, _ flags: Int32, mode: UInt32 = 0o600,
        links: Links = .refused
    ) throws(Errno) -> FileDescriptor {
        let parts = path.utf8.split(separator: UInt8(ascii: "/"))
        let relative = FileName(parts.isEmpty ? Array(".".utf8) : Array(parts.joined(separator: "/".utf8)))
        return try open(relative, beneath: folder.rawValue, flags, mode: mode, links: links)
    }

    /// The same of a name that may be no text, below a folder whose descriptor the caller keeps.
    public static func open(
        _ name: FileName, beneath folder: Int32, _ flags: Int32, mode: UInt32 = 0o600, links: Links = .refused
    ) throws(Errno) -> FileDescriptor {
        let resolve: Int =
            switch links {
            case .refused: Int(CATBIRD_RESOLVE_BENEATH) | Int(CATBIRD_RESOLVE_NO_SYMLINKS)
            case .withinFolder: Int(CATBIRD_RESOLVE_BENEATH)
            case .asInRoot: Int(CATBIRD_RESOLVE_IN_ROOT)
            }
        return FileDescriptor(
            owning: try check("openat2", name.description) {
                catbird_openat2(folder, name.cString, flags, mode, UInt64(resolve | Int(CATBIRD_RESOLVE_NO_MAGICLINKS)))
            })
    }

    /// A place by name only, not opened: something to mount, or to make things in.
    public static func place(
        _ path: String, beneath folder: borrowing FileDescriptor, links: Links = .refused
    ) throws(Errno) -> FileDescriptor {
        try open(path, beneath: folder, Int32(CATBIRD_OPEN_PATH), links: links)
    }

    /// A folder below an open one, by name only.
    public static func folder(
        _ name: FileName, beneath folder: Int32, links: Links = .refused
    ) throws(Errno) -> FileDescriptor {
        try open(name, beneath: folder, Int32(CATBIRD_OPEN_PATH) | O_DIRECTORY, links: links)
    }

    /// What is at a path of one's own, by name only.
    public static func place(_ path: String) throws(Errno) -> FileDescriptor {
        try FileDescriptor.open(path, Int32(CATBIRD_OPEN_PATH))
    }

    /// A folder by name only.
    public static func folder(_ path: String) throws(Errno) -> FileDescriptor {
        try FileDescriptor.open(path, Int32(CATBIRD_OPEN_PATH) | O_DIRECTORY)
    }

    /// Makes the folders of `path` below an open one, those that are missing, with exactly `mode`, and returns the last.
    /// Links are not followed.
    public static func makeDirectories(
        _ path: String, beneath folder: borrowing FileDescriptor, mode: UInt32 = 0o755
    ) throws(Errno) -> FileDescriptor {
        var current = try place("", beneath: folder)
        for part in path.utf8.split(separator: UInt8(ascii: "/")) {
            let name = FileName(part)
            let parent = current.rawValue
            if mkdirat(parent, name.cString, mode) == 0 {
                // Whatever the file mask is.
                try check("fchmodat", path) { fchmodat(parent, name.cString, mode, 0) }
            } else if errno != EEXIST {
                throw Errno("mkdir", path)
            }
            let flags = Int32(CATBIRD_OPEN_PATH) | O_DIRECTORY | O_NOFOLLOW
            let resolve = UInt64(CATBIRD_RESOLVE_BENEATH | CATBIRD_RESOLVE_NO_SYMLINKS)
            current = FileDescriptor(
                owning: try check("openat2", path) { catbird_openat2(parent, name.cString, flags, 0, resolve) })
        }
        return current
    }
}

extension Files {
    /// Runs `body` on a thread whose root is `folder`: no path and no link in it leads out, whoever wrote what is there.
    /// An ``Errno`` of it that names a path names it as it is called outside.
    public static func withRoot<T: Sendable>(_ folder: String, _ body: @escaping @Sendable () throws -> T) throws -> T {
        try OwnThread.run {
            // Threads share their root; this one gets one of its own.
            try check("unshare", "CLONE_FS") { catbird_unshare(0x200) }
            try check("chroot", folder) { chroot(folder) }
            try check("chdir", "/") { chdir("/") }
            do { return try body() } catch let error as Errno where error.detail.hasPrefix("/") {
                throw Errno(code: error.code, call: error.call, detail: folder + error.detail)
            }
        }
    }
}

extension FileDescriptor {
    /// The path by which this process reaches what is open here, whatever lies at its name by now.
    public var path: String { "/proc/self/fd/\(rawValue)" }
}
