// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// Sends a log as a client asked for it, and follows it across rotations.
struct LogStreamer: Sendable {
    let path: String
    let request: LogRequest
    /// Whether more can still come: the container runs.
    let isLive: @Sendable () async -> Bool
    /// Fires when the container has ended.
    let ended: AsyncStream<Void>

    func stream(_ write: @escaping @Sendable ([UInt8]) async throws -> Void) async throws {
        var formatter = LogFormatter(request)
        // Watched before it is read: what is written in between is seen.
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "/"
        let inotify = request.follow ? try Inotify() : nil
        try inotify?.add(directory, [.modified, .created, .movedFrom, .movedTo])
        var start = 0
        if let lines = request.tailLines {
            start = ContainerLogs.tailOffset(path, lines: lines)
        } else {
            for old in ContainerLogs.rotated(path) {
                guard let file = OpenLog(old) else { continue }
                while let bytes = file.read() { try await write(formatter.feed(bytes)) }
            }
        }
        var file = OpenLog(path)
        file?.seek(start)
        func drain() async throws {
            while !formatter.isExhausted, let bytes = file?.read() {
                let output = formatter.feed(bytes)
                if !output.isEmpty { try await write(output) }
            }
        }
        try await drain()
        guard request.follow, let inotify, !formatter.isExhausted else { return }
        let signals = Self.merge(inotify.events, ended)
        if await !isLive() {
            try await drain()
            return
        }
        for await hasEnded in signals {
            try await drain()
            if formatter.isExhausted || hasEnded { break }
            // Rotated: the old file was read to its end just now, the new one from its beginning.
            if let current = file, !current.isStillAt(path), let next = OpenLog(path) {
                try await drain()
                file = next
                try await drain()
            } else if file == nil {
                file = OpenLog(path)
                try await drain()
            }
        }
    }

    /// False for a change of the files, true for the end of the container.
    private static func merge(_ changes: AsyncStream<[InotifyEvent]>, _ ended: AsyncStream<Void>) -> AsyncStream<Bool> {
        AsyncStream(bufferingPolicy: .bufferingNewest(2)) { continuation in
            // Not structured: they end with the stream.
            let first = Task { for await _ in changes { continuation.yield(false) } }
            let second = Task {
                for await _ in ended { continuation.yield(true) }
            }
            continuation.onTermination = { _ in
                first.cancel()
                second.cancel()
            }
        }
    }
}

/// A log that is open for reading.
final class OpenLog: Sendable {
    private let file: Int32

    init?(_ path: String) {
        guard let opened = try? ContainerLogs.open(path) else { return nil }
        file = opened.take()
    }

    deinit { close(file) }

    func seek(_ offset: Int) { lseek(file, offset, SEEK_SET) }

    /// The next bytes; nil when there are none now.
    func read() -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: 65536)
        let count = chunk.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
        guard count > 0 else { return nil }
        chunk.removeLast(chunk.count - count)
        return chunk
    }

    func isStillAt(_ path: String) -> Bool {
        var own = stat()
        var there = stat()
        guard fstat(file, &own) == 0, lstat(path, &there) == 0 else { return false }
        return own.st_ino == there.st_ino && own.st_dev == there.st_dev
    }
}
