// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Synchronization

/// Reads a pipe, terminal or socket when asked to: nothing is read ahead of who consumes it.
final class DescriptorReader: Sendable {
    private let fd: Int32
    private let receive: @Sendable (Int32) throws(Errno) -> [UInt8]
    private struct State {
        var waiting: CheckedContinuation<Bool, Never>?
        var isCancelled = false
    }
    private let state = Mutex(State())

    /// Takes ownership of `fd`.
    ///
    /// - Parameter receive: reads once; nothing read means the end, EAGAIN that there is nothing yet.
    init(
        owning fd: Int32,
        receive: @escaping @Sendable (Int32) throws(Errno) -> [UInt8] = {
            fd throws(Errno) in try FileDescriptor.read(fd, upTo: 65536)
        }
    ) {
        self.fd = fd
        self.receive = receive
        let flags = fcntl(fd, F_GETFL)
        _ = fcntl(fd, F_SETFL, flags | O_NONBLOCK)
    }

    deinit { close(fd) }

    /// Nil at the end, and when cancelled.
    func next() async -> [UInt8]? {
        while !state.withLock(\.isCancelled) {
            do throws(Errno) {
                let bytes = try receive(fd)
                return bytes.isEmpty ? nil : bytes
            } catch {
                // EIO: the last process let go of the terminal.
                guard error.code == EAGAIN, await isReadable() else { return nil }
            }
        }
        return nil
    }

    func cancel() { fire(false, cancelling: true) }

    private func isReadable() async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isCancelled = state.withLock { state in
                    if !state.isCancelled { state.waiting = continuation }
                    return state.isCancelled
                }
                if isCancelled { return continuation.resume(returning: false) }
                do { try FileEvents.shared().add(fd) { _ in self.fire(true) } } catch { fire(false) }
            }
        } onCancel: {
            cancel()
        }
    }

    private func fire(_ readable: Bool, cancelling: Bool = false) {
        let waiting = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            if cancelling { state.isCancelled = true }
            defer { state.waiting = nil }
            return state.waiting
        }
        guard let waiting else { return }
        (try? FileEvents.shared())?.remove(fd)
        waiting.resume(returning: readable)
    }

    /// What comes, for one consumer.
    func stream() -> AsyncStream<[UInt8]> {
        AsyncStream {
            await self.next()
        } onCancel: {
            self.cancel()
        }
    }
}

/// Writes to a pipe, terminal or socket without blocking a thread of the pool for long.
final class DescriptorWriter: Sendable {
    private let fd: Mutex<Int32?>

    init(owning fd: Int32) {
        let flags = fcntl(fd, F_GETFL)
        _ = fcntl(fd, F_SETFL, flags | O_NONBLOCK)
        self.fd = Mutex(fd)
    }

    deinit { close() }

    func close() {
        fd.withLock { fd in
            if let open = fd { Glibc.close(open) }
            fd = nil
        }
    }

    /// A descriptor of its own for the same file, while it is open.
    func duplicate() -> Int32? {
        let copy = fd.withLock { $0.map { fcntl($0, F_DUPFD_CLOEXEC, 3) } ?? -1 }
        return copy < 0 ? nil : copy
    }

    /// Calls must not overlap.
    func write(_ bytes: [UInt8], pieces: Int = .max) async throws {
        var done = 0
        while done < bytes.count {
            try Task.checkCancellation()
            let (count, code) = fd.withLock { fd -> (Int, Int32) in
                guard let fd else { return (-1, EBADF) }
                let count = bytes.withUnsafeBytes { space in
                    Glibc.write(fd, space.baseAddress?.advanced(by: done), min(space.count - done, pieces))
                }
                return (count, errno)
            }
            if count >= 0 {
                done += count
            } else if code == EAGAIN {
                try await writable()
            } else if code != EINTR {
                throw Errno(code: code, call: "write", detail: "standard input")
            }
        }
    }

    private func writable() async throws {
        // A descriptor of its own: the other may be closed meanwhile.
        guard let copy = duplicate() else { throw Errno(code: EBADF, call: "write") }
        try await OwnThread.run(awaiting: {
            var entry = pollfd(fd: copy, events: Int16(POLLOUT), revents: 0)
            _ = poll(&entry, 1, 1000)
            Glibc.close(copy)
        })
    }
}
