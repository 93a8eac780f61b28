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
///
/// All watchers of a process share one instance of the kernel's, of which a user has 128 as a rule
/// (fs.inotify.max_user_instances): a hundred nodes are a hundred processes of one user.
public final class Inotify: Sendable {
    private let hub: Hub
    private let number: UInt64
    /// For one reader. If it lags far behind, the oldest batches are dropped and the newest says `overflow`.
    public let events: AsyncStream<[InotifyEvent]>

    public init() throws(Errno) {
        hub = try Hub.shared()
        let (events, continuation) = AsyncStream.makeStream(
            of: [InotifyEvent].self, bufferingPolicy: .bufferingNewest(256))
        self.events = events
        number = hub.join(continuation)
    }

    deinit { hub.leave(number) }

    /// Watches a path from now on; watching it again changes the kinds.
    public func add(_ path: String, _ kinds: InotifyEvent.Kinds = .contents) throws(Errno) {
        try hub.add(path, kinds, for: number)
    }

    public func remove(_ path: String) { hub.remove(path, for: number) }
}

extension Inotify {
    /// The process' instance, and who watches what by it.
    fileprivate final class Hub: Sendable {
        private struct Watch {
            let path: String
            let kinds: InotifyEvent.Kinds
        }

        private struct State {
            var next: UInt64 = 0
            var watchers: [UInt64: AsyncStream<[InotifyEvent]>.Continuation] = [:]
            /// By the kernel's number of the watched file, which all who watch it share.
            var watches: [Int32: [UInt64: Watch]] = [:]
            var numbers: [UInt64: [String: Int32]] = [:]
        }

        private static let only = Mutex<Hub?>(nil)
        private let fd: Int32
        private let state = Mutex(State())

        static func shared() throws(Errno) -> Hub {
            let result = only.withLock { hub -> Result<Hub, Errno> in
                if let hub { return .success(hub) }
                do throws(Errno) {
                    let new = try Hub()
                    hub = new
                    return .success(new)
                } catch { return .failure(error) }
            }
            return try result.get()
        }

        private init() throws(Errno) {
            fd = try check("inotify_init1") { inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK)) }
            do throws(Errno) {
                try FileEvents.shared().add(fd) { [weak self] _ in self?.readEvents() }
            } catch {
                close(fd)
                throw error
            }
        }

        func join(_ continuation: AsyncStream<[InotifyEvent]>.Continuation) -> UInt64 {
            state.withLock { state in
                state.next += 1
                state.watchers[state.next] = continuation
                return state.next
            }
        }

        func leave(_ number: UInt64) {
            let continuation = state.withLock { state in
                for watch in (state.numbers.removeValue(forKey: number) ?? [:]).values {
                    drop(watch, of: number, &state)
                }
                return state.watchers.removeValue(forKey: number)
            }
            continuation?.finish()
        }

        func add(_ path: String, _ kinds: InotifyEvent.Kinds, for number: UInt64) throws(Errno) {
            // Held while the watch is added: an event cannot come before its path is known.
            let failure = state.withLock { state -> Errno? in
                // Others may watch it for other kinds: each is told of its own.
                let watch = inotify_add_watch(fd, path, kinds.rawValue | UInt32(IN_MASK_ADD))
                guard watch >= 0 else { return Errno("inotify_add_watch", path) }
                // The path may lead to another file by now, the file may have been watched under another path.
                if let former = state.numbers[number]?[path], former != watch { drop(former, of: number, &state) }
                if let other = state.watches[watch]?[number]?.path, other != path {
                    state.numbers[number]?[other] = nil
                }
                state.watches[watch, default: [:]][number] = Watch(path: path, kinds: kinds)
                state.numbers[number, default: [:]][path] = watch
                return nil
            }
            if let failure { throw failure }
        }

        func remove(_ path: String, for number: UInt64) {
            state.withLock { state in
                guard let watch = state.numbers[number]?.removeValue(forKey: path) else { return }
                drop(watch, of: number, &state)
            }
        }

        private func drop(_ watch: Int32, of number: UInt64, _ state: inout State) {
            guard state.watches[watch]?.removeValue(forKey: number) != nil else { return }
            guard state.watches[watch]?.isEmpty == true else { return }
            state.watches[watch] = nil
            inotify_rm_watch(fd, watch)
        }

        private func readEvents() {
            var batches: [UInt64: [InotifyEvent]] = [:]
            while let bytes = try? FileDescriptor.read(fd, upTo: 65536), !bytes.isEmpty {
                state.withLock { state in parse(bytes, &state, into: &batches) }
            }
            for (number, batch) in batches {
                let continuation = state.withLock { $0.watchers[number] }
                guard let continuation, case .dropped = continuation.yield(batch) else { continue }
                continuation.yield([InotifyEvent(path: "", name: "", kinds: .overflow)])
            }
        }

        private func parse(_ bytes: [UInt8], _ state: inout State, into batches: inout [UInt64: [InotifyEvent]]) {
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
                take(watch, InotifyEvent.Kinds(rawValue: mask), String(decoding: name, as: UTF8.self), &state, &batches)
            }
        }

        private func take(
            _ watch: Int32, _ kinds: InotifyEvent.Kinds, _ name: String, _ state: inout State,
            _ batches: inout [UInt64: [InotifyEvent]]
        ) {
            if watch == -1 {
                for number in state.watchers.keys {
                    batches[number, default: []].append(InotifyEvent(path: "", name: "", kinds: kinds))
                }
                return
            }
            for (number, entry) in state.watches[watch] ?? [:]
            where !kinds.isDisjoint(with: entry.kinds.union([.unmounted, .ignored])) {
                batches[number, default: []].append(InotifyEvent(path: entry.path, name: name, kinds: kinds))
            }
            guard kinds.contains(.ignored) else { return }
            for (number, entry) in state.watches.removeValue(forKey: watch) ?? [:]
            where state.numbers[number]?[entry.path] == watch {
                state.numbers[number]?[entry.path] = nil
            }
        }
    }
}
