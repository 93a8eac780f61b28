// SPDX-License-Identifier: Apache-2.0

/// The changes below a prefix, in batches, for one reader. It fails with ``StorageError/lagged`` when the reader falls
/// too far behind, and ends when its reader is cancelled. Letting go of it ends it.
public struct StoreWatch: AsyncSequence, Sendable {
    public typealias Element = [StoreEvent]
    public typealias Failure = StorageError

    private let subscription: WatchSubscription
    private let history: [StoreEvent]
    private let core: StoreCore

    init(_ subscription: WatchSubscription, history: [StoreEvent], core: StoreCore) {
        self.subscription = subscription
        self.history = history
        self.core = core
    }

    public func makeAsyncIterator() -> Iterator { Iterator(subscription: subscription, history: history) }

    /// The revision up to which a reader that has handled every batch it took knows everything; nil while events wait
    /// for it. What a bookmark may say.
    public var caughtUpRevision: Int64? { core.revisionIfCaughtUp(subscription) }

    public struct Iterator: AsyncIteratorProtocol {
        let subscription: WatchSubscription
        var history: [StoreEvent]

        public mutating func next() async throws(StorageError) -> [StoreEvent]? {
            guard history.isEmpty else {
                defer { history = [] }
                return history
            }
            return try await subscription.next()
        }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(StorageError) -> [StoreEvent]? {
            guard history.isEmpty else {
                defer { history = [] }
                return history
            }
            return try await subscription.next()
        }
    }
}
