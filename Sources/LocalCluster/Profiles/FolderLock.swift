// SPDX-License-Identifier: Apache-2.0

import Glibc
public import Linux
import Synchronization

/// An exclusive lock on a folder itself: there is no file that would stay. The kernel takes it from a holder that dies.
///
/// On a profile's state folder it is held by whoever starts, stops or deletes it; on the folder of all profiles by who
/// chooses something that they share: ranges of addresses, settings of the machine.
public final class FolderLock: Sendable {
    private let path: String
    private let folder: FileDescriptor
    private let isHeld = Mutex(true)

    private init(_ folder: consuming FileDescriptor, at path: String) {
        self.path = path
        self.folder = folder
    }

    deinit { release() }

    /// Lets others go on. A folder that was made to be locked, and in which nothing has come to lie, goes.
    public func release() {
        isHeld.withLock { isHeld in
            guard isHeld else { return }
            isHeld = false
            // Its holder may have removed it, and the next one made it anew: then it is theirs.
            if Self.isThere(folder, at: path) { rmdir(path) }
            // By name: closing alone would leave the lock with a child that has not executed its program yet.
            flock(folder.rawValue, LOCK_UN)
        }
    }

    /// Takes the lock, waiting on this thread: for what is held for an instant only.
    public static func hold(_ path: String, mode: UInt32 = 0o755) throws(Errno) -> FolderLock {
        while true {
            let folder = try open(path, mode)
            if flock(folder.rawValue, LOCK_EX) != 0 {
                guard errno == EINTR else { throw Errno("flock", path) }
                continue
            }
            if isThere(folder, at: path) { return FolderLock(folder, at: path) }
        }
    }

    /// Takes the lock of a folder, which is made when there is none.
    ///
    /// - Parameters:
    ///   - patience: who holds the lock is ended when it has not let go by then; nil waits for as long as it takes.
    ///   - waiting: called once when somebody has it, with who that is where it can be told.
    public static func acquire(
        _ path: String, mode: UInt32 = 0o700, endingHolderAfter patience: Duration? = nil,
        waiting: (_ holder: ProcessSummary?) -> Void
    ) async throws -> FolderLock {
        if let lock = try attempt(path, mode) { return lock }
        waiting(holder(of: path))
        let limit = patience.map { patience in
            Task {
                try await Task.sleep(for: patience)
                guard let pid = holder(of: path)?.pid, pid != getpid() else { return }
                try await ChildProcess.adopt(pid).end(grace: .seconds(2))
            }
        }
        defer { limit?.cancel() }
        return try await OwnThread.run(awaiting: { try hold(path, mode: mode) })
    }

    private static func attempt(_ path: String, _ mode: UInt32) throws(Errno) -> FolderLock? {
        while true {
            let folder = try open(path, mode)
            if flock(folder.rawValue, LOCK_EX | LOCK_NB) == 0 {
                if isThere(folder, at: path) { return FolderLock(folder, at: path) }
            } else {
                if errno == EWOULDBLOCK { return nil }
                throw Errno("flock", path)
            }
        }
    }

    private static func open(_ path: String, _ mode: UInt32) throws(Errno) -> FileDescriptor {
        // Its holder may remove it between the two; not again and again.
        for _ in 0..<100 {
            try Files.makeDirectories(path, mode: mode)
            do throws(Errno) { return try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY) } catch {
                guard error.code == ENOENT else { throw error }
            }
        }
        throw Errno(code: ENOENT, call: "open", detail: path)
    }

    /// Whether the folder that was locked is still the one of that name: its last holder may have removed it.
    private static func isThere(_ folder: borrowing FileDescriptor, at path: String) -> Bool {
        var locked = stat()
        var named = stat()
        return fstat(folder.rawValue, &locked) == 0 && stat(path, &named) == 0 && locked.st_ino == named.st_ino
            && locked.st_dev == named.st_dev
    }

    /// Who has the lock, by /proc/locks: `1: FLOCK  ADVISORY  WRITE 4711 00:2f:815 0 EOF`. Those that wait have `->`.
    private static func holder(of path: String) -> ProcessSummary? {
        var info = stat()
        guard stat(path, &info) == 0, let table = try? Files.text("/proc/locks") else { return nil }
        for line in table.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 5, words[1] == "FLOCK", words[3] == "WRITE", let pid = pid_t(words[4]), pid > 0,
                words[5].split(separator: ":").last.flatMap({ UInt64($0) }) == UInt64(info.st_ino)
            else { continue }
            return ProcessSummary(pid: pid)
        }
        return nil
    }
}
