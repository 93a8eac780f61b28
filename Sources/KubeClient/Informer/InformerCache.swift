// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// What an informer knows: pure bookkeeping over lists and watch events.
struct InformerCache {
    typealias Change = (old: KubeObject?, new: KubeObject?)

    private(set) var objects: [ObjectKey: KubeObject] = [:]
    private(set) var resourceVersion = ""

    /// Takes over a full list; what changed against what was known.
    mutating func replace(with list: ObjectList) -> [Change] {
        resourceVersion = list.resourceVersion
        var changes: [Change] = []
        var fresh: [ObjectKey: KubeObject] = [:]
        fresh.reserveCapacity(list.items.count)
        for object in list.items {
            let key = object.key
            let old = objects[key]
            fresh[key] = object
            if !Self.isSame(old, object) { changes.append((old, object)) }
        }
        for (key, old) in objects.sorted(by: { $0.key < $1.key }) where fresh[key] == nil { changes.append((old, nil)) }
        objects = fresh
        return changes
    }

    /// Takes over the events of a watch.
    mutating func apply(_ events: [WatchEvent]) -> [Change] {
        var changes: [Change] = []
        for event in events {
            let version = event.object.resourceVersion
            if !version.isEmpty { resourceVersion = version }
            let key = event.object.key
            let old = objects[key]
            switch event.type {
            case .bookmark: break
            case .added, .modified:
                guard !Self.isSame(old, event.object) else { continue }
                objects[key] = event.object
                changes.append((old, event.object))
            case .deleted:
                guard let old else { continue }
                objects[key] = nil
                // The event's object is the last state; it may differ from what was cached.
                changes.append((old.uid == event.object.uid ? event.object : old, nil))
            }
        }
        return changes
    }

    private static func isSame(_ old: KubeObject?, _ new: KubeObject) -> Bool {
        guard let old, old.uid == new.uid else { return false }
        let version = new.resourceVersion
        return version.isEmpty ? old == new : old.resourceVersion == version
    }
}
