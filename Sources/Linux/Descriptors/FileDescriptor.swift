// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// A file descriptor that is owned: it closes when its owner goes away.
public struct FileDescriptor: ~Copyable, Sendable {
    public let rawValue: Int32

    /// Takes ownership of `rawValue`.
    public init(owning rawValue: Int32) { self.rawValue = rawValue }

    deinit { Glibc.close(rawValue) }

    /// Gives the descriptor away: who takes it closes it.
    public consuming func take() -> Int32 {
        let value = rawValue
        discard self
        return value
    }

    /// A second descriptor, owned by itself, for the same open file.
    public func duplicate() throws(Errno) -> FileDescriptor {
        FileDescriptor(owning: try check("dup", "\(rawValue)") { catbird_dup_cloexec(rawValue) })
    }

    /// Opens a path, close-on-exec; without flags to read (`O_RDONLY`).
    public static func open(_ path: String, _ flags: Int32 = 0, mode: UInt32 = 0o600) throws(Errno)
        -> FileDescriptor
    {
        FileDescriptor(owning: try check("open", path) { catbird_open(path, flags, mode) })
    }

    /// A pipe, both ends close-on-exec.
    public static func pipe() throws(Errno) -> PipeEnds {
        var ends: [Int32] = [-1, -1]
        try check("pipe") { catbird_pipe(&ends) }
        return PipeEnds(read: FileDescriptor(owning: ends[0]), write: FileDescriptor(owning: ends[1]))
    }

    public func setNonBlocking(_ enabled: Bool = true) throws(Errno) {
        try check("fcntl") { catbird_set_nonblocking(rawValue, enabled ? 1 : 0) }
    }

    /// Goes to `count` bytes before the end, or to the beginning of what is shorter; returns how many bytes follow.
    public func seek(toEnd count: Int) throws(Errno) -> Int {
        let size = lseek(rawValue, 0, SEEK_END)
        guard size >= 0, lseek(rawValue, max(0, size - count), SEEK_SET) >= 0 else { throw Errno("lseek") }
        return min(count, size)
    }

    /// Reads at most `count` bytes; none means the end.
    public func read(upTo count: Int) throws(Errno) -> [UInt8] {
        try FileDescriptor.read(rawValue, upTo: count)
    }

    /// Reads to the end, or throws `EFBIG` past `limit` bytes. Of what was opened without waiting (`O_NONBLOCK`) and
    /// is a pipe, the writer gets `patience` in all, then it is `ETIMEDOUT`.
    public func readToEnd(limit: Int = 64 << 20, patience: Duration = .seconds(10)) throws(Errno) -> [UInt8] {
        var result: [UInt8] = []
        var end: ContinuousClock.Instant?
        while true {
            let part: [UInt8]
            do throws(Errno) { part = try read(upTo: 65536) } catch {
                guard error.code == EAGAIN else { throw error }
                let until = end ?? .now + patience
                end = until
                guard FileDescriptor.hasInput(rawValue, until: until) else {
                    throw Errno(code: ETIMEDOUT, call: "read", detail: "no end within \(patience)")
                }
                continue
            }
            if part.isEmpty { return result }
            result += part
            guard result.count <= limit else {
                throw Errno(code: EFBIG, call: "read", detail: "more than \(limit) bytes")
            }
        }
    }

    /// Waits until there is something to read, or the end of it; false when the time is over before.
    public static func hasInput(_ fd: Int32, until end: ContinuousClock.Instant) -> Bool {
        while true {
            let (seconds, fraction) = max(.zero, ContinuousClock.now.duration(to: end)).components
            let milliseconds = min(seconds, 1_000_000) * 1000 + fraction / 1_000_000_000_000_000
            var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
            let count = poll(&entry, 1, Int32(clamping: milliseconds))
            if count > 0 { return true }
            if count == 0 || errno != EINTR { return false }
        }
    }

    /// Writes all of `bytes`.
    public func write(_ bytes: some Collection<UInt8>) throws(Errno) {
        try FileDescriptor.write(rawValue, bytes)
    }

    /// Reads from a descriptor that someone else owns.
    public static func read(_ fd: Int32, upTo count: Int) throws(Errno) -> [UInt8] {
        var failure: Errno?
        let bytes = [UInt8](unsafeUninitializedCapacity: max(count, 0)) { space, filled in
            while true {
                let result = Glibc.read(fd, space.baseAddress, space.count)
                if result >= 0 {
                    filled = result
                    return
                }
                if errno != EINTR {
                    failure = Errno("read", "descriptor \(fd)")
                    return
                }
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Writes all of `bytes` to a descriptor that someone else owns.
    public static func write(_ fd: Int32, _ bytes: some Collection<UInt8>) throws(Errno) {
        var failure: Errno?
        let all = ContiguousArray(bytes)
        all.withUnsafeBytes { space in
            var done = 0
            while done < space.count {
                let result = Glibc.write(fd, space.baseAddress?.advanced(by: done), space.count - done)
                if result >= 0 {
                    done += result
                } else if errno != EINTR {
                    failure = Errno("write", "descriptor \(fd)")
                    return
                }
            }
        }
        if let failure { throw failure }
    }
}

extension FileDescriptor {
    /// A file that exists only in memory, with `bytes` in it, positioned at its start.
    public static func inMemory(_ bytes: [UInt8], name: String = "catbird") throws(Errno) -> FileDescriptor {
        let file = FileDescriptor(owning: try check("memfd_create") { catbird_memfd(name) })
        try file.write(bytes)
        guard lseek(file.rawValue, 0, SEEK_SET) == 0 else { throw Errno("lseek") }
        return file
    }
}

/// The two ends of a pipe.
public struct PipeEnds: ~Copyable, Sendable {
    public let read: FileDescriptor
    public let write: FileDescriptor

    public init(read: consuming FileDescriptor, write: consuming FileDescriptor) {
        self.read = read
        self.write = write
    }

    /// Gives both ends away.
    public consuming func take() -> (read: Int32, write: Int32) { (read.take(), write.take()) }
}
