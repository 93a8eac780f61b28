// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Storage
import Synchronization

/// A change of an object as watchers are told of it. Encoded once for each form it is sent in, not once a watcher.
final class CacheEvent: Sendable {
    enum Kind: Sendable { case put, delete }

    let kind: Kind
    /// The new state; of a deleted object the last one, at the revision of the deletion.
    let object: StoredObject
    /// The state before; nil for an object that is new.
    let previous: StoredObject?
    private let lines = EncodedLines()
    private let read = Mutex<Tree>(.notYet)

    private enum Tree {
        case notYet
        case kept(KubeObject)
        /// The event is not new any more: who asks now reads for himself.
        case given
    }

    init(kind: Kind, object: StoredObject, previous: StoredObject?) {
        self.kind = kind
        self.object = object
        self.previous = previous
    }

    var revision: Int64 { object.revision }

    /// The object, read once for all components of the process that are told of the event while it is new.
    func tree() -> KubeObject {
        read.withLock { tree in
            if case .kept(let object) = tree { return object }
            let read = object.object()
            if case .notYet = tree { tree = .kept(read) }
            return read
        }
    }

    /// Keeps what was made of the object no longer: whoever was told has it.
    func age() {
        read.withLock { $0 = .given }
        lines.forget()
    }

    /// The line of a watch that tells of `type`.
    func line(_ type: String, _ content: EncodedLines.Content, _ make: () -> [UInt8]) -> [UInt8] {
        lines.line(EncodedLines.Key(type: type, content: content), make)
    }
}

/// The events of the last moments, which keep what was read of them.
struct NewEvents: Sendable {
    private var events: [CacheEvent] = []
    private var bytes = 0

    /// About so many are told of before all who watch have come round to them.
    private static let limit = 256
    private static let bytesLimit = 1 << 20

    mutating func append(_ event: CacheEvent) {
        events.append(event)
        bytes += event.object.value.count
        guard events.count > Self.limit || bytes > Self.bytesLimit else { return }
        let old = events.prefix(max(1, events.count / 2))
        for event in old {
            event.age()
            bytes -= event.object.value.count
        }
        events.removeFirst(old.count)
    }
}

/// The objects of one resource in the order of their keys, with what happened lately.
struct ResourceCache: Sendable {
    private var objects = SortedEntries<StoredObject>()
    /// The youngest events, oldest first.
    private(set) var history: [CacheEvent] = []
    /// Watches can begin after this revision: nothing later has been forgotten.
    private(set) var historyStart: Int64
    /// The revision of the last change.
    private(set) var lastChange: Int64

    /// History is bounded by count and by size, so that large objects that change often do not fill the memory.
    static let historyLimit = 2048
    static let historyBytesLimit = 2 << 20
    private var historyBytes = 0
    /// What an event takes besides the bytes of its object.
    private static let eventBytes = 768

    init(start: Int64) {
        historyStart = start
        lastChange = start
    }

    var count: Int { objects.count }

    subscript(key: String) -> StoredObject? { objects[key] }

    /// Takes an object as it is found in the store when the cache is filled; keys come in order.
    mutating func load(_ object: StoredObject) { objects.set(object) }

    mutating func apply(_ kind: CacheEvent.Kind, _ object: StoredObject) -> CacheEvent {
        let previous =
            switch kind {
            case .put: objects.set(object)
            case .delete: objects.remove(object.key)
            }
        let event = CacheEvent(kind: kind, object: object, previous: previous)
        remember(event)
        return event
    }

    /// Takes an event that the objects show already into the history.
    mutating func remember(_ event: CacheEvent) {
        history.append(event)
        historyBytes += event.object.value.count + Self.eventBytes
        lastChange = event.revision
        if history.count > Self.historyLimit || historyBytes > Self.historyBytesLimit { forget() }
    }

    /// Drops the older half of the history.
    private mutating func forget() {
        let count = history.count / 2
        guard count > 0 else { return }
        historyStart = history[count - 1].revision
        for event in history[..<count] { historyBytes -= event.object.value.count + Self.eventBytes }
        history.removeFirst(count)
    }

    /// The events after a revision; nil when some of them have been forgotten.
    func events(after revision: Int64) -> [CacheEvent]? {
        guard revision >= historyStart else { return nil }
        var low = 0
        var high = history.count
        while low < high {
            let middle = (low + high) / 2
            if history[middle].revision <= revision { low = middle + 1 } else { high = middle }
        }
        return Array(history[low...])
    }

    /// The objects whose keys begin with `prefix`, in order: at most `limit`, from `start` on, and how many more there
    /// are.
    func objects(
        prefix: String, from start: String? = nil, limit: Int? = nil
    ) -> (entries: [StoredObject], remaining: Int) {
        objects.range(prefix: prefix, from: start, limit: limit)
    }
}

extension StoredObject: KeyedEntry {}
