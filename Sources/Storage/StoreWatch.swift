// SPDX-License-Identifier: Apache-2.0

/// The changes below a prefix, in batches, for one reader. It fails with ``StorageError/lagged`` when the reader falls
/// too far behind, and ends when its reader is cancelled. Letting go of it ends it.
public struct StoreWatch: AsyncSequence, Sendable {
    public typealias Element = [StoreEvent]
    public typealias Failure = StorageError

    private let subscription: WatchSubscription
    private let core: StoreCore

    /// `history`: what happened before the subscription began.
    init(_ subscription: WatchSubscription, history: [StoreEvent], core: StoreCore) {
        self.subscription = subscription
        self.core = core
        subscription.setHistory(history)
    }

    public func makeAsyncIterator() -> Iterator { Iterator(subscription: subscription) }

    /// The revision up to which a reader that has handled every batch it took knows everything; nil while events wait
    /// for it. What a bookmark may say.
    public var caughtUpRevision: Int64? { core.revisionIfCaughtUp(subscription) }

    public struct Iterator: AsyncIteratorProtocol {
        let subscription: WatchSubscription

        public mutating func next() async throws(StorageError) -> [StoreEvent]? { try await subscription.next() }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(StorageError) -> [StoreEvent]? {
            try await subscription.next()
        }
    }
}
