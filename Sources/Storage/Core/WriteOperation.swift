// SPDX-License-Identifier: Apache-2.0

/// A write as it was asked for.
enum WriteOperation: Sendable {
    case put(key: String, value: [UInt8], expecting: Int64?)
    case delete(key: String, expecting: Int64?)

    var key: String {
        switch self {
        case .put(let key, _, _), .delete(let key, _): key
        }
    }

    /// What comes of the write when the key is as `current` and the next revision is `revision`: pure, so that every
    /// backend decides alike.
    func evaluate(current: KeyValue?, revision: Int64) -> (outcome: WriteOutcome, event: StoreEvent?) {
        switch self {
        case .put(let key, let value, let expecting):
            if let expecting, expecting != current?.modRevision ?? 0 {
                return (.put(.conflict(current: current)), nil)
            }
            let event = StoreEvent(
                kind: .put, key: key, value: value, previousValue: current?.value, revision: revision,
                createRevision: current?.createRevision ?? revision)
            return (.put(.committed(revision: revision)), event)
        case .delete(let key, let expecting):
            guard let current else { return (.delete(.notFound), nil) }
            if let expecting, expecting != current.modRevision { return (.delete(.conflict(current: current)), nil) }
            let event = StoreEvent(
                kind: .delete, key: key, value: current.value, previousValue: current.value, revision: revision,
                createRevision: current.createRevision)
            return (.delete(.deleted(revision: revision, previous: current)), event)
        }
    }
}

/// What came of a write.
enum WriteOutcome: Sendable {
    case put(PutResult)
    case delete(DeleteResult)
}

extension StoreEvent {
    /// What the key is after the event.
    var result: KeyValue? {
        kind == .delete
            ? nil : KeyValue(key: key, value: value, createRevision: createRevision, modRevision: revision)
    }
}
