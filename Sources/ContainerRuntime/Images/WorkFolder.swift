// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// A folder in the store's `tmp` for what is not finished. It goes with its owner; if the owner was killed, the next
/// one that makes such a folder removes it.
final class WorkFolder: Sendable {
    let path: String
    private let lockPath: String
    private let lock: Int32

    init(in store: ImageStore) throws {
        try store.prepare()
        let parent = store.root + "/tmp"
        Self.sweep(parent)
        let name = "\(getpid())-\(UInt64.random(in: 0 ... .max))"
        path = "\(parent)/\(name)"
        lockPath = path + ".lock"
        // Locked before the folder exists: a sweep never sees it without. flock(2) belongs to the open file, so that
        // another thread's sweep is kept away too.
        let file = try FileDescriptor.open(lockPath, O_RDWR | O_CREAT | O_EXCL)
        guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else { throw Errno("flock", lockPath) }
        lock = file.take()
        guard mkdir(path, 0o700) == 0 else { throw Errno("mkdir", path) }
    }

    deinit {
        try? Files.removeTree(path)
        unlink(lockPath)
        close(lock)
    }

    private static func sweep(_ parent: String) {
        for entry in (try? Files.list(parent)) ?? [] where entry.name.hasSuffix(".lock") {
            let lockPath = "\(parent)/\(entry.name)"
            guard let file = try? FileDescriptor.open(lockPath, O_RDWR) else { continue }
            if flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 {
                try? Files.removeTree(String(lockPath.dropLast(5)))
                unlink(lockPath)
            }
        }
    }
}
