// SPDX-License-Identifier: Apache-2.0

import Coordination
import KubeObjects
import Storage
import Values

/// What quotas were charged for one write.
struct QuotaCharge: Sendable {
    struct Entry: Sendable {
        let name: String
        let uid: String
        let amounts: ResourceAmounts
    }

    let id: Int
    let namespace: String
    var entries: [Entry] = []
}

/// Charges writes to the quotas of their namespace, by compare-and-swap on the quotas' status.
///
/// A write is charged before it is done and given back should it fail, so quotas are never exceeded. The controller that
/// counts everything anew reads the quota first: that read waits for the writes charged before it (`quiet`), and a charge
/// that comes after it makes the controller's own write fail.
final class QuotaLedger: Sendable {
    /// A write that is to be charged.
    struct Order: Sendable {
        let namespace: String
        let groupResource: String
        let new: KubeObject
        let old: KubeObject?
        let isDryRun: Bool
    }

    private struct Item: Sendable {
        var object: KubeObject
        var revision: Int64
        var delta: ResourceAmounts = [:]
        var used: ResourceAmounts = [:]
    }

    private let objects: AdmissionObjects
    private let storage: any Backend
    private let flights = ChargesInFlight()
    /// Charges of one namespace come one after the other: they would only take the status from each other.
    private let locks = (0..<16).map { _ in AsyncLock() }

    private static let quotas = StorageKey(.resourceQuotas)
    private static let attempts = 32

    init(objects: AdmissionObjects, storage: any Backend) {
        self.objects = objects
        self.storage = storage
    }

    private var mirror: Mirror { objects.mirror }

    func hasQuotas(_ namespace: String) -> Bool {
        !mirror.list(Self.quotas, namespace: namespace).objects.isEmpty
    }

    private func lock(_ namespace: String) -> AsyncLock {
        locks[Int(UInt(bitPattern: namespace.hashValue) % UInt(locks.count))]
    }

    /// Returns when the writes that have been charged so far are done or given back.
    func quiet(_ namespace: String) async { await flights.landed(namespace) }

    // MARK: Charging

    /// Nil when nothing had to be charged. `refuse` makes a refusal of a reason.
    func charge(_ order: Order, _ refuse: (String) -> StatusError) async throws -> QuotaCharge? {
        try await lock(order.namespace).withLock {
            try await mirror.caughtUp()
            var items: [Item] = []
            for quota in objects.list(Self.quotas, namespace: order.namespace) {
                var item = Item(object: quota, revision: Int64(quota.resourceVersion) ?? 0)
                if try judge(&item, order, refuse) { items.append(item) }
            }
            if items.isEmpty || order.isDryRun { return nil }
            var charge = QuotaCharge(id: flights.depart(order.namespace), namespace: order.namespace)
            do {
                for item in items {
                    if let entry = try await write(item, order, refuse) { charge.entries.append(entry) }
                }
                try await mirror.caughtUp()
                return charge
            } catch {
                await refund(charge)
                flights.land(charge.id, order.namespace)
                throw error
            }
        }
    }

    /// Whether the quota has to be charged, and with what.
    private func judge(
        _ item: inout Item, _ order: Order, _ refuse: (String) -> StatusError
    ) throws(StatusError) -> Bool {
        let quota = Quota(item.object)
        guard quota.covers(order.new, order.groupResource) else { return false }
        if order.groupResource == "pods", let missing = quota.missing(in: order.new) {
            throw refuse("failed quota: \(quota.name): \(missing)")
        }
        let now = Timestamp.now
        var delta = quota.usage(of: order.new, order.groupResource, now: now)
        if let old = order.old { delta.subtract(quota.usage(of: old, order.groupResource, now: now)) }
        // What becomes less is counted by the controller once it is written.
        delta = delta.filter { $0.value > .zero }
        if delta.isEmpty { return false }
        item.delta = delta
        item.used = known(quota, order.namespace, now)
        if let refusal = quota.refusal(of: delta, used: item.used) { throw refuse(refusal) }
        return true
    }

    /// What is used already. Of a quota that nobody has counted yet, it is counted here.
    private func known(_ quota: Quota, _ namespace: String, _ now: Timestamp) -> ResourceAmounts {
        let missing = quota.hard.keys.filter { quota.used[$0] == nil }
        guard !missing.isEmpty else { return quota.used }
        var used = quota.used
        for resource in Set(missing.compactMap { QuotaUsage.counted(by: $0) }) {
            let all = mirror.list(Self.storageKey(resource), namespace: namespace).objects.map { $0.object() }
            let usage = quota.usage(of: all, resource, now: now)
            for name in missing { if let amount = usage[name] { used[name] = amount } }
        }
        return used
    }

    /// Where the objects of `jobs.batch` are kept.
    private static func storageKey(_ groupResource: String) -> StorageKey {
        let known = ResourceRegistry.shared.resources.first { $0.resource.groupResource == groupResource }
        if let known { return StorageKey(known.storage) }
        let parts = groupResource.split(separator: ".", maxSplits: 1)
        return StorageKey(GroupVersionResource(parts.count > 1 ? String(parts[1]) : "", "", String(parts.first ?? "")))
    }

    private func write(
        _ item: Item, _ order: Order, _ refuse: (String) -> StatusError
    ) async throws -> QuotaCharge.Entry? {
        var item = item
        for _ in 0..<Self.attempts {
            var used = item.used
            used.add(item.delta)
            switch try await put(item, used) {
            case .committed: return QuotaCharge.Entry(name: item.object.name, uid: item.object.uid, amounts: item.delta)
            case .conflict(nil): return nil
            case .conflict(let other?):
                item = Self.item(other, order.namespace)
                guard try judge(&item, order, refuse) else { return nil }
            }
        }
        throw StatusError.conflict(
            .resourceQuotas, name: item.object.name,
            "the object has been modified; please apply your changes to the latest version and try again")
    }

    private static func item(_ entry: KeyValue, _ namespace: String) -> Item {
        let stored = StoredObject(key: entry.key, resource: quotas, revision: entry.modRevision, value: entry.value)
        return Item(object: stored.object(), revision: entry.modRevision)
    }

    private func put(_ item: Item, _ used: ResourceAmounts) async throws -> PutResult {
        var object = item.object
        object["status"]["hard"] = object["spec"]["hard"]
        object["status"]["used"] = used.json
        let path = Self.quotas.key(object.namespace, object.name)
        return try await storage.put(path, StoredObject.encode(object), expecting: item.revision)
    }

    // MARK: Settling

    /// Does a write that has been charged, and gives the charge back when it fails or does not hold.
    func settling<Value: Sendable>(
        _ charge: QuotaCharge?, holds: (Value) -> Bool = { _ in true }, _ write: () async throws -> Value
    ) async throws -> Value {
        guard let charge else { return try await write() }
        do {
            let result = try await write()
            if holds(result) { flights.land(charge.id, charge.namespace) } else { await giveBack(charge) }
            return result
        } catch {
            await giveBack(charge)
            throw error
        }
    }

    func giveBack(_ charge: QuotaCharge?) async {
        guard let charge else { return }
        // Also when the request was cancelled.
        await Task {
            await self.lock(charge.namespace).withLock { await self.refund(charge) }
            self.flights.land(charge.id, charge.namespace)
        }.value
    }

    /// A quota that cannot be written stays charged until the controller counts anew.
    private func refund(_ charge: QuotaCharge) async {
        guard (try? await mirror.caughtUp()) != nil else { return }
        for entry in charge.entries {
            guard let stored = mirror.object(Self.quotas, charge.namespace, entry.name) else { continue }
            var item = Item(object: stored.object(), revision: stored.revision)
            for _ in 0..<Self.attempts {
                guard item.object.uid == entry.uid else { break }
                var used = PodResources.amounts(item.object["status"]["used"])
                for (name, amount) in entry.amounts {
                    if let now = used[name] { used[name] = max(now - amount, .zero) }
                }
                guard case .conflict(let other?)? = try? await put(item, used) else { break }
                item = Self.item(other, charge.namespace)
            }
        }
        // Only so that who comes next sees it, who waits for that himself.
        try? await mirror.caughtUp()
    }
}
