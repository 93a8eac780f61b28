// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// An exclusive lock on a file of its own, held until released or until the process ends.
///
/// A store keeps its present in memory, so two processes must never have it open. The lock is not on the database:
/// closing any descriptor of that file would drop SQLite's own locks.
final class FileLock: Sendable {
    private let descriptor: Mutex<CInt>

    init(path: String) throws(StorageError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .unavailable("\(path): \(String(cString: strerror(errno)))") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno == EWOULDBLOCK ? "another process has the store open" : String(cString: strerror(errno))
            Glibc.close(descriptor)
            throw .unavailable("\(path): \(reason)")
        }
        self.descriptor = Mutex(descriptor)
    }

    func release() {
        descriptor.withLock { descriptor in
            if descriptor >= 0 { Glibc.close(descriptor) }
            descriptor = -1
        }
    }

    deinit { release() }
}
