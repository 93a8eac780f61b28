// SPDX-License-Identifier: Apache-2.0

/// A key with its value, as one revision left it.
public struct KeyValue: Sendable, Hashable {
    public var key: String
    public var value: [UInt8]
    /// The revision that created the key; a key deleted and created again starts anew.
    public var createRevision: Int64
    /// The revision that last wrote it.
    public var modRevision: Int64

    public init(key: String, value: [UInt8], createRevision: Int64, modRevision: Int64) {
        self.key = key
        self.value = value
        self.createRevision = createRevision
        self.modRevision = modRevision
    }
}

/// One change of the store.
public struct StoreEvent: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        case put, delete
    }

    public var kind: Kind
    public var key: String
    /// What was written; for a deletion, the last value.
    public var value: [UInt8]
    /// The value before; nil for a creation. For a deletion it is the last value, like ``value``.
    public var previousValue: [UInt8]?
    public var revision: Int64
    /// The revision that created the key.
    public var createRevision: Int64

    public init(
        kind: Kind, key: String, value: [UInt8], previousValue: [UInt8]?, revision: Int64, createRevision: Int64
    ) {
        self.kind = kind
        self.key = key
        self.value = value
        self.previousValue = previousValue
        self.revision = revision
        self.createRevision = createRevision
    }

    public var isCreate: Bool { kind == .put && revision == createRevision }
}

/// The keys of one range read, in the order of their bytes.
public struct RangeResult: Sendable, Hashable {
    public var keyValues: [KeyValue]
    /// The revision that was read: the present one unless an earlier one was asked for.
    public var revision: Int64
    /// How many keys of the prefix come after the last one returned.
    public var remainingCount: Int

    public var hasMore: Bool { remainingCount > 0 }

    public init(keyValues: [KeyValue], revision: Int64, remainingCount: Int) {
        self.keyValues = keyValues
        self.revision = revision
        self.remainingCount = remainingCount
    }
}

/// How a put went.
public enum PutResult: Sendable, Hashable {
    /// Durable, as the key's modRevision.
    case committed(revision: Int64)
    /// The key was not as expected, and nothing was written; nil when it does not exist.
    case conflict(current: KeyValue?)
}

/// How a deletion went.
public enum DeleteResult: Sendable, Hashable {
    case deleted(revision: Int64, previous: KeyValue)
    case notFound
    /// The key was not at the revision expected, and nothing was deleted.
    case conflict(current: KeyValue)
}

/// Why the store did not do what it was asked.
public enum StorageError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The history asked for was given up: read the present and go on from there.
    case compacted(requested: Int64, compacted: Int64)
    /// No such revision yet.
    case futureRevision(requested: Int64, current: Int64)
    /// The reader of a watch did not keep up: read the present and watch from there.
    case lagged
    /// The store was closed.
    case closed
    /// The disk or the database failed; nothing was written.
    case unavailable(String)

    public var description: String {
        switch self {
        case .compacted(let requested, let compacted):
            "revision \(requested) has been compacted; the oldest one kept is \(compacted)"
        case .futureRevision(let requested, let current):
            "revision \(requested) is in the future; the present one is \(current)"
        case .lagged: "the watch fell too far behind"
        case .closed: "the store is closed"
        case .unavailable(let reason): "the store cannot be used: \(reason)"
        }
    }
}

/// A key-value store with one revision counter, compare-and-swap, history and watches: etcd's semantics.
///
/// An empty store is at revision 1; each write that takes place raises it by one. A write that was acknowledged is
/// never lost. Events reach watchers in the order of revisions, and only when they are durable.
public protocol Backend: Sendable {
    var currentRevision: Int64 { get async }
    /// The oldest revision that can still be read; 0 before the first compaction.
    var compactedRevision: Int64 { get async }

    /// The key now, or as it was at `revision`.
    func get(_ key: String, at revision: Int64?) async throws(StorageError) -> KeyValue?

    /// The keys that begin with `prefix`, from `startKey` on (inclusive), at most `limit`.
    func range(
        prefix: String, from startKey: String?, limit: Int?, at revision: Int64?
    ) async throws(StorageError) -> RangeResult

    /// Writes if the key is at `modRevision`: 0 means that it must not exist, nil that it does not matter.
    func put(_ key: String, _ value: [UInt8], expecting modRevision: Int64?) async throws(StorageError) -> PutResult

    /// Deletes if the key is at `modRevision`; nil means that it does not matter.
    func delete(_ key: String, expecting modRevision: Int64?) async throws(StorageError) -> DeleteResult

    /// All changes below `prefix` after `revision`, in batches.
    func watch(prefix: String, after revision: Int64) async throws(StorageError) -> StoreWatch

    /// The size of the store's files; nil for a store that has none.
    var storedBytes: Int? { get async }

    /// Gives up history before `revision`; the present is never touched.
    func compact(to revision: Int64) async throws(StorageError)
}

extension Backend {
    public var storedBytes: Int? { nil }

    public func get(_ key: String) async throws(StorageError) -> KeyValue? { try await get(key, at: nil) }

    public func range(prefix: String) async throws(StorageError) -> RangeResult {
        try await range(prefix: prefix, from: nil, limit: nil, at: nil)
    }
}
