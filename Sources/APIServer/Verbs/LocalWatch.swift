// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Synchronization
import Values

/// A watch of a component of the same process: it is told of objects, and shares them with all others that are.
final class LocalWatch: Sendable {
    private let mirror: Mirror
    private let key: StorageKey
    private let watch: Mirror.Watch
    private let view: WatchView
    private let type: ResourceType
    private let timers: Task<Void, any Error>
    private let sendsBookmarks: Bool
    private let hasBegun = Atomic(false)

    init(
        _ mirror: Mirror, _ key: StorageKey, _ watch: Mirror.Watch, _ view: WatchView, _ type: ResourceType,
        _ options: ListOptions, seconds: Int
    ) {
        self.mirror = mirror
        self.key = key
        self.watch = watch
        self.view = view
        self.type = type
        sendsBookmarks = options.allowsBookmarks
        timers = watch.subscription.timers(seconds: seconds) { mirror.revision }
    }

    deinit {
        timers.cancel()
        mirror.unsubscribe(key, watch.subscription)
    }

    /// The next events, none of them empty; nil when the time is up, or the reader has fallen behind.
    func next() async -> [WatchEvent]? {
        if !hasBegun.exchange(true, ordering: .relaxed) {
            let events =
                watch.initial.filter(view.selection.matches).map {
                    WatchEvent(type: .added, object: VersionConversion.object($0, as: type))
                } + watch.missed.compactMap(event)
            if !events.isEmpty { return events }
        }
        while let signal = await watch.subscription.next() {
            switch signal {
            case .events(let batch):
                let events = batch.compactMap(event)
                if !events.isEmpty { return events }
            case .progress(let revision):
                guard sendsBookmarks else { continue }
                let object: JSON = [
                    "apiVersion": JSON(type.apiVersion), "kind": JSON(type.kind),
                    "metadata": ["resourceVersion": JSON(String(revision))],
                ]
                return [WatchEvent(type: .bookmark, object: KubeObject(object))]
            case .timeUp: return nil
            }
        }
        return nil
    }

    private func event(_ event: CacheEvent) -> WatchEvent? {
        guard let change = view.change(event), let kind = WatchEvent.Kind(rawValue: change.type) else { return nil }
        let object =
            change.isShared
            ? VersionConversion.object(event.tree(), at: event.revision, as: type)
            : VersionConversion.object(change.object, as: type)
        return WatchEvent(type: kind, object: object)
    }
}
