// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What a tree takes of a disk.
public enum DiskUsage {
    /// The blocks of all that is below a path, in bytes: holes take none, a file with several names counts once. Links
    /// are not followed and other file systems not entered. What goes while it is walked is not counted; nor is what is
    /// deeper than there are descriptors for.
    public static func bytes(below path: String) -> Int64 {
        let root = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard root >= 0 else { return 0 }
        var info = stat()
        guard fstat(root, &info) == 0 else {
            close(root)
            return 0
        }
        var walk = Walk(device: info.st_dev)
        walk.total = Int64(info.st_blocks) * 512
        // Folders whose entries are being read: a deep tree needs no deep stack.
        var open: [OpaquePointer] = []
        if let folder = fdopendir(root) { open.append(folder) } else { close(root) }
        while let folder = open.last {
            if let next = walk.step(folder) {
                open.append(next)
            } else if walk.isAtEnd {
                closedir(folder)
                open.removeLast()
            }
        }
        return walk.total
    }

    private struct Walk {
        let device: dev_t
        var total: Int64 = 0
        var isAtEnd = false
        /// Files with several names that were counted.
        private var counted: Set<ino_t> = []

        init(device: dev_t) { self.device = device }

        /// Takes the next entry of a folder; returns it opened if it is a folder itself.
        mutating func step(_ folder: OpaquePointer) -> OpaquePointer? {
            isAtEnd = false
            guard let entry = readdir(folder) else {
                isAtEnd = true
                return nil
            }
            // A name is bytes, and goes back to the kernel as it came.
            return withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { name in
                    if name[0] == 0x2E, name[1] == 0 || (name[1] == 0x2E && name[2] == 0) { return nil }
                    return count(name, in: dirfd(folder))
                }
            }
        }

        private mutating func count(_ name: UnsafePointer<CChar>, in folder: Int32) -> OpaquePointer? {
            var info = stat()
            guard fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0, info.st_dev == device else { return nil }
            let isFolder = info.st_mode & S_IFMT == S_IFDIR
            if !isFolder, info.st_nlink > 1, !counted.insert(info.st_ino).inserted { return nil }
            total &+= Int64(info.st_blocks) &* 512
            guard isFolder else { return nil }
            let opened = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard opened >= 0 else { return nil }
            guard let directory = fdopendir(opened) else {
                close(opened)
                return nil
            }
            return directory
        }
    }
}
