// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
import Values

/// Who owns whom, over all kinds: a value without I/O.
///
/// Only what collecting garbage needs is kept of an object: its name, its owners, and whether it waits for dependents.
package struct OwnerGraph: Sendable {
    package struct Item: Sendable, Equatable {
        package var resource: GroupVersionResource
        package var key: ObjectKey
        package var uid: String
        package var owners: [OwnerReference]
        package var isBeingDeleted: Bool
        package var finalizers: [String]

        package init(_ resource: GroupVersionResource, _ object: KubeObject) {
            self.resource = resource
            key = object.key
            uid = object.uid
            owners = object.ownerReferences
            isBeingDeleted = object.isBeingDeleted
            finalizers = object.finalizers.filter { $0 == OwnerGraph.foreground || $0 == OwnerGraph.orphan }
        }

        /// Deleted in the foreground: goes when those who block it have gone.
        package var waitsForDependents: Bool { isBeingDeleted && finalizers.contains(OwnerGraph.foreground) }
        /// Deleted, but its dependents shall live.
        package var orphansDependents: Bool { isBeingDeleted && finalizers.contains(OwnerGraph.orphan) }
    }

    package static let foreground = "foregroundDeletion"
    package static let orphan = "orphan"

    private var items: [String: Item] = [:]
    private var dependents: [String: Set<String>] = [:]
    /// Owners that the server said it does not have. A uid never comes back.
    private var absent = RecentSet(capacity: 1024)
    /// Those that were seen to go. What is heard of one afterwards, such as the answer to the write that let it go, was on
    /// its way before; taken in, it would keep its owner waiting for ever.
    private var departed = RecentSet(capacity: 1024)

    package init() {}

    package subscript(uid: String) -> Item? { items[uid] }
    package var count: Int { items.count }

    package func dependents(of uid: String) -> [Item] { (dependents[uid] ?? []).compactMap { items[$0] } }

    /// Those that keep an owner deleted in the foreground from going.
    package func blockers(of uid: String) -> [Item] {
        dependents(of: uid).filter { item in item.owners.contains { $0.uid == uid && $0.blocksOwnerDeletion } }
    }

    package mutating func noteAbsent(_ uid: String) { absent.insert(uid) }

    /// Takes in an object as it is now; returns whom to look at.
    package mutating func changed(_ item: Item) -> Set<String> {
        guard !departed.contains(item.uid) else { return [] }
        let old = items.updateValue(item, forKey: item.uid)
        guard old != item else { return [] }
        for owner in old?.owners ?? [] where !item.owners.contains(where: { $0.uid == owner.uid }) {
            dependents[owner.uid]?.remove(item.uid)
        }
        for owner in item.owners { dependents[owner.uid, default: []].insert(item.uid) }
        var work: Set<String> = []
        if !item.owners.isEmpty { work.insert(item.uid) }
        if item.waitsForDependents || item.orphansDependents { work.insert(item.uid) }
        // An owner that waits may have lost a dependent, or the reason to wait for it.
        for owner in (old?.owners ?? []) + item.owners where items[owner.uid]?.waitsForDependents ?? false {
            work.insert(owner.uid)
        }
        return work
    }

    /// The object is gone; returns whom to look at. Not `seen`: it is missing in a list, which may be older than it.
    package mutating func left(_ uid: String, seen: Bool = true) -> Set<String> {
        absent.insert(uid)
        if seen { departed.insert(uid) }
        guard let item = items.removeValue(forKey: uid) else { return [] }
        var work = dependents[uid] ?? []
        for owner in item.owners {
            dependents[owner.uid]?.remove(uid)
            if dependents[owner.uid]?.isEmpty ?? false { dependents[owner.uid] = nil }
            if items[owner.uid]?.waitsForDependents ?? false { work.insert(owner.uid) }
        }
        return work
    }

    /// Those of that resource that are not among `present`: a relisting shows who went unseen.
    package func missing(_ resource: GroupVersionResource, among present: Set<String>) -> [String] {
        items.values.filter { $0.resource == resource && !present.contains($0.uid) }.map(\.uid)
    }

    // MARK: - Verdicts

    package enum Verdict: Sendable, Equatable {
        case keep
        /// These owners have to be looked up on the server first.
        case lookUp([OwnerReference])
        /// Other owners remain: only the references to those that went are dropped.
        case dropReferences(Set<String>)
        case delete(policy: String)
        /// Deleted in the foreground, waits for these: delete those that are not being deleted yet.
        case wait(delete: [Item])
        /// Nobody blocks it any more.
        case release(finalizer: String)
        /// Free these of their reference, then release.
        case orphan([Item])
    }

    package func verdict(on uid: String) -> Verdict {
        guard let item = items[uid] else { return .keep }
        if item.orphansDependents {
            let all = dependents(of: uid)
            return all.isEmpty ? .release(finalizer: Self.orphan) : .orphan(all)
        }
        if item.waitsForDependents {
            // Those that wait for each other in a circle wait for nobody.
            if blockers(of: uid).allSatisfy({ waits($0, for: uid) }) { return .release(finalizer: Self.foreground) }
            return .wait(delete: dependents(of: uid).filter { !$0.isBeingDeleted })
        }
        if item.isBeingDeleted || item.owners.isEmpty { return .keep }
        var unknown: [OwnerReference] = []
        var solid = 0
        var dangling: Set<String> = []
        var waiting: Set<String> = []
        for owner in item.owners {
            if let known = items[owner.uid], isReachable(known, from: item) {
                if known.waitsForDependents, owner.blocksOwnerDeletion {
                    waiting.insert(owner.uid)
                } else {
                    solid += 1
                }
            } else if absent.contains(owner.uid) || items[owner.uid] != nil {
                dangling.insert(owner.uid)
            } else {
                unknown.append(owner)
            }
        }
        if !unknown.isEmpty { return .lookUp(unknown) }
        if solid > 0 {
            let gone = dangling.union(waiting)
            return gone.isEmpty ? .keep : .dropReferences(gone)
        }
        let isForeground = !waiting.isEmpty && !dependents(of: uid).isEmpty
        return .delete(policy: isForeground ? "Foreground" : "Background")
    }

    /// Whether an item waits, itself or through others that wait, for the one with the uid.
    private func waits(_ item: Item, for uid: String) -> Bool {
        var seen: Set<String> = []
        var next = [item]
        while let one = next.popLast() {
            guard one.waitsForDependents, seen.insert(one.uid).inserted else { continue }
            for blocker in blockers(of: one.uid) {
                if blocker.uid == uid { return true }
                next.append(blocker)
            }
        }
        return false
    }

    /// The owners of an item that are in another namespace, where no owner can be.
    package func ownersElsewhere(of item: Item) -> [OwnerReference] {
        item.owners.filter { owner in items[owner.uid].map { !isReachable($0, from: item) } ?? false }
    }

    /// An owner is in the same namespace or in none.
    package func isReachable(_ owner: Item, from item: Item) -> Bool {
        owner.key.namespace == nil || owner.key.namespace == item.key.namespace
    }
}
