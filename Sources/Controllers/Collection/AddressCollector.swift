// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import NetworkModel
import Synchronization
import Values

/// Takes back addresses whose pod or node is gone, and the blocks of nodes that are gone.
///
/// The CNI plugin gives an address back itself; this is for the times it cannot, because its node died. Every step is
/// a compare-and-swap on one object, in an order that leaves no address without a block: a crash in between leaves
/// work that the next look finds again.
final class AddressCollector: Controller {
    private enum Work: Sendable, Hashable {
        case look
    }

    private let context: ControllerContext
    private let blocks: ResourceCache
    private let affinities: ResourceCache
    private let queue = WorkQueue<Work>()
    /// Since when each handle has been seen leaking.
    private let suspects = Mutex<[String: ContinuousClock.Instant]>([:])

    /// Pods tend to go in crowds, and a look reads every block: one look for the crowd.
    private static let gathering = Duration.seconds(1)

    init(_ context: ControllerContext) {
        self.context = context
        blocks = ResourceCache(context.client, .ipamBlocks)
        affinities = ResourceCache(context.client, .blockAffinities)
    }

    func register() {
        let queue = queue
        for cache in [context.caches.pods, context.caches.nodes] {
            cache.onChange { if $0.new == nil { queue.addAfter(.look, Self.gathering) } }
        }
        affinities.onChange { if $0.old == nil { queue.addAfter(.look, Self.gathering) } }
        blocks.onChange { if $0.old == nil { queue.addAfter(.look, Self.gathering) } }
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.blocks.run() }
            group.addTask { await self.affinities.run() }
            group.addTask {
                await self.blocks.waitUntilSynced()
                await self.affinities.waitUntilSynced()
                self.queue.add(.look)
                await self.queue.run(workers: 1) { _ in try await self.look() }
            }
        }
    }

    private func look() async throws {
        let caches = context.caches
        let known = blocks.all.compactMap { try? IPAMBlock($0) }
        let leaks = AddressLeaks.find(
            blocks: known, pod: { caches.pods[$0] }, nodeExists: { caches.nodes[ObjectKey(nil, $0)] != nil })
        let now = ContinuousClock.Instant.now
        let since = suspects.withLock { suspects in
            var current: [String: ContinuousClock.Instant] = [:]
            for leak in leaks { current[leak.handleID] = suspects[leak.handleID] ?? now }
            suspects = current
            return current
        }
        let grace = context.configuration.addressGracePeriod
        var nextLook: Duration?
        for leak in leaks {
            let age = now - (since[leak.handleID] ?? now)
            if !leak.isCertain, age < grace {
                nextLook = min(nextLook ?? grace, grace - age)
                continue
            }
            if try await isStillTrue(leak) { try await release(leak.handleID) }
        }
        try await releaseBlocksOfGoneNodes()
        if let nextLook { queue.addAfter(.look, nextLook) }
    }

    /// Asks the server itself: the caches may lag behind.
    private func isStillTrue(_ leak: AddressLeaks.Leak) async throws -> Bool {
        if leak.isCertain, let node = leak.node {
            return try await isGone(.nodes, ObjectKey(nil, node))
        }
        guard let key = leak.pod else { return false }
        do {
            let pod = try await context.client.get(.pods, key.name, in: key.namespace)
            let fresh = AddressLeaks.find(
                blocks: blocks.all.compactMap { try? IPAMBlock($0) }, pod: { $0 == key ? pod : nil },
                nodeExists: { _ in true })
            return fresh.contains { $0.handleID == leak.handleID }
        } catch let error as APIError where error.isNotFound {
            return true
        }
    }

    private func isGone(_ resource: GroupVersionResource, _ key: ObjectKey) async throws -> Bool {
        do {
            _ = try await context.client.get(resource, key.name, in: key.namespace)
            return false
        } catch let error as APIError where error.isNotFound {
            return true
        }
    }

    /// First the blocks, then the handle: a handle that counts too many is harmless, one that counts too few is not.
    private func release(_ handleID: String) async throws {
        let all = blocks.all.compactMap { try? IPAMBlock($0) }
        var freed: [(CIDR, Int)] = []
        for step in AddressRelease.steps(handleID: handleID, all) {
            if step.isObsolete {
                try await remove(step.block.object, from: blocks)
            } else {
                try await blocks.update(step.block.encodedForWrite())
            }
            freed.append((step.block.cidr, step.count))
        }
        context.log.info("released \(freed.count) address(es) of handle \(handleID), whose pod or node is gone")
        do {
            var handle = IPAMHandle(
                try await context.client.get(.ipamHandles, IPAMNames.handle(handleID)))
            for (cidr, count) in freed { handle.decrement(cidr, by: count) }
            if handle.isEmpty {
                try await context.client.delete(
                    .ipamHandles, handle.object.name, uid: handle.object.uid,
                    resourceVersion: handle.object.resourceVersion)
            } else {
                try await context.client.update(.ipamHandles, handle.encoded())
            }
        } catch let error as APIError where error.isNotFound {
            // Somebody else was quicker.
        }
    }

    private func releaseBlocksOfGoneNodes() async throws {
        for object in affinities.all {
            guard let affinity = try? BlockAffinity(object), affinity.type == "host",
                context.caches.nodes[ObjectKey(nil, affinity.node)] == nil,
                try await isGone(.nodes, ObjectKey(nil, affinity.node))
            else { continue }
            if let stored = blocks[ObjectKey(nil, IPAMNames.block(affinity.cidr))], var block = try? IPAMBlock(stored),
                block.node == affinity.node
            {
                if block.isEmpty {
                    try await remove(stored, from: blocks)
                } else {
                    // Somebody still lives there: the block stays, as nobody's.
                    block.affinity = nil
                    try await blocks.update(block.encodedForWrite())
                }
            }
            try await remove(object, from: affinities)
        }
    }

    private func remove(_ object: KubeObject, from cache: ResourceCache) async throws {
        do {
            try await context.client.delete(
                cache.resource, object.name, uid: object.uid, resourceVersion: object.resourceVersion)
        } catch let error as APIError where error.isNotFound {
            // Gone already.
        }
    }
}
