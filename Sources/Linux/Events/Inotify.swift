// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
import Synchronization

/// A change of a watched file or folder.
public struct InotifyEvent: Sendable, Hashable {
    public struct Kinds: OptionSet, Sendable, Hashable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        public static let modified = Kinds(rawValue: 0x2)
        public static let attributes = Kinds(rawValue: 0x4)
        public static let closedAfterWrite = Kinds(rawValue: 0x8)
        public static let movedFrom = Kinds(rawValue: 0x40)
        public static let movedTo = Kinds(rawValue: 0x80)
        public static let created = Kinds(rawValue: 0x100)
        public static let deleted = Kinds(rawValue: 0x200)
        public static let selfDeleted = Kinds(rawValue: 0x400)
        public static let selfMoved = Kinds(rawValue: 0x800)
        /// Only delivered: the file system is gone.
        public static let unmounted = Kinds(rawValue: 0x2000)
        /// Only delivered: events were lost, look again at everything.
        public static let overflow = Kinds(rawValue: 0x4000)
        /// Only delivered: this watch has ended.
        public static let ignored = Kinds(rawValue: 0x8000)
        public static let isDirectory = Kinds(rawValue: 0x4000_0000)

        /// Files of a folder come, go or get new content.
        public static let contents: Kinds = [
            .created, .deleted, .movedFrom, .movedTo, .closedAfterWrite, .selfDeleted, .selfMoved,
        ]
    }

    /// The path as it was given to be watched.
    public let path: String
    /// The entry of the folder; empty when it is about the watched file or folder itself.
    public let name: String
    public let kinds: Kinds
}

/// Watches files and folders. Changes come in batches; the stream ends when the watcher goes away.
public final class Inotify: Sendable {
    private let fd: Int32
    private let paths: Mutex<[Int32: String]>
    private let continuation: AsyncStream<[InotifyEvent]>.Continuation
    /// For one reader. If it lags far behind, the oldest batches are dropped and the newest says `overflow`.
    public let events: AsyncStream<[InotifyEvent]>

    public init() throws(Errno) {
        fd = try check("inotify_init1") { inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK)) }
        paths = Mutex([:])
        (events, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(256))
        do throws(Errno) {
            try FileEvents.shared().add(fd) { [weak self] _ in self?.readEvents() }
        } catch {
            close(fd)
            throw error
        }
    }

    deinit {
        FileEvents.retire(fd)
        continuation.finish()
    }

    /// Watches a path from now on; watching it again changes the kinds.
    public func add(_ path: String, _ kinds: InotifyEvent.Kinds = .contents) throws(Errno) {
        // Held while the watch is added: an event cannot come before its path is known.
        let failure = paths.withLock { paths -> Errno? in
            let watch = inotify_add_watch(fd, path, kinds.rawValue)
            guard watch >= 0 else { return Errno("inotify_add_watch", path) }
            paths[watch] = path
            return nil
        }
        if let failure { throw failure }
    }

    public func remove(_ path: String) {
        paths.withLock { paths in
            for (watch, watched) in paths where watched == path {
                inotify_rm_watch(fd, watch)
                paths[watch] = nil
            }
        }
    }

    private func readEvents() {
        var batch: [InotifyEvent] = []
        while let bytes = try? FileDescriptor.read(fd, upTo: 65536), !bytes.isEmpty {
            batch += paths.withLock { paths in Self.parse(bytes, &paths) }
        }
        if batch.isEmpty { return }
        if case .dropped = continuation.yield(batch) {
            continuation.yield([InotifyEvent(path: "", name: "", kinds: .overflow)])
        }
    }

    private static func parse(_ bytes: [UInt8], _ paths: inout [Int32: String]) -> [InotifyEvent] {
        var result: [InotifyEvent] = []
        var offset = 0
        while bytes.count - offset >= 16 {
            let (watch, mask, length) = bytes.withUnsafeBytes { space in
                (
                    space.loadUnaligned(fromByteOffset: offset, as: Int32.self),
                    space.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self),
                    Int(space.loadUnaligned(fromByteOffset: offset + 12, as: UInt32.self))
                )
            }
            guard length <= bytes.count - offset - 16 else { break }
            let name = bytes[(offset + 16)..<(offset + 16 + length)].prefix { $0 != 0 }
            offset += 16 + length
            let kinds = InotifyEvent.Kinds(rawValue: mask)
            guard let path = watch == -1 ? "" : paths[watch] else { continue }
            result.append(InotifyEvent(path: path, name: String(decoding: name, as: UTF8.self), kinds: kinds))
            if kinds.contains(.ignored) { paths[watch] = nil }
        }
        return result
    }
}
