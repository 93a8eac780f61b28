// SPDX-License-Identifier: Apache-2.0

/// A reader of an informer that asks by itself, at the moment it needs to know: what ``Informer/events()`` brings to those
/// who wait. Keeps its informer.
public final class InformerReader: Sendable {
    public let informer: Informer
    private let subscriber: InformerSubscriber

    init(_ informer: Informer, _ subscriber: InformerSubscriber) {
        self.informer = informer
        self.subscriber = subscriber
    }

    /// What changed since the last time, one event an object, the first time all objects; and the version that the
    /// informer has reached with it.
    public func take() -> (events: [InformerEvent], resourceVersion: String) { informer.take(for: subscriber) }
}
