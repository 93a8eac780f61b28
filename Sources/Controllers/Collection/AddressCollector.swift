// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import Logging
import NetworkModel
import Synchronization
import Values

/// Takes back addresses whose pod or node is gone, the blocks and claims of nodes that are gone, blocks that stay empty,
/// and handles without addresses.
///
/// The CNI plugin gives an address back itself; this is for the times it cannot. `AddressCollection` decides, what it
/// decided is checked once more against the server itself, and the engine commits it.
final class AddressCollector: Controller {
    private enum Work: Sendable, Hashable {
        case look
    }

    private let context: ControllerContext
    let objects: IPAMCaches
    let book: AddressBook
    private let queue = WorkQueue<Work>("ipam_garbage_collector")
    /// Since when each suspect has been one.
    private let suspects = Mutex<[String: Timestamp]>([:])
    private let mending = Mutex(Mending())

    /// Pods tend to go in crowds, and a look reads every block: one look for the crowd.
    private static let gathering = Duration.seconds(1)

    init(_ context: ControllerContext) {
        self.context = context
        let objects = IPAMCaches(context)
        self.objects = objects
        book = AddressBook(
            store: WatchedStore(client: context.client, feed: { objects.feed }), node: "", logger: context.log)
    }

    func register() {
        let queue = queue
        for cache in [context.caches.pods, context.caches.nodes] {
            cache.onChange { if $0.new == nil { queue.addAfter(.look, Self.gathering) } }
        }
        for cache in [objects.blocks, objects.affinities, objects.handles] {
            cache.onChange { if $0.old == nil { queue.addAfter(.look, Self.gathering) } }
        }
        // What was held back while the datastore was locked.
        objects.clusterInformation.onChange { _ in queue.addAfter(.look, Self.gathering) }
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            for cache in objects.caches { group.addTask { await cache.run() } }
            group.addTask {
                for cache in self.objects.caches { await cache.waitUntilSynced() }
                self.queue.add(.look)
                await self.queue.run(workers: 1) { _ in try await self.look() }
            }
        }
    }

    private func look() async throws {
        let snapshot = await book.snapshot()
        let world = IPAMWorld(
            snapshot: snapshot, handles: objects.handles.all.map { IPAMHandle($0) },
            pods: context.caches.pods.all.map { PodUse($0) }, isLocked: objects.isLocked)
        let grace = context.configuration.addressGracePeriod
        let outcome = AddressCollection.decide(
            world, now: .now, grace: grace / .seconds(1), seen: suspects.withLock { $0 })
        suspects.withLock { $0 = outcome.seen }
        if let reason = outcome.skipped {
            context.log.notice("no address is collected: \(reason)")
            return
        }
        let collected = try await book.collect(
            outcome, decidedFrom: snapshot, isStillTrue: { try await self.isStillTrue($0, snapshot) },
            nodeExists: { try await self.context.client.find(.nodes, $0) != nil })
        if collected != Collected() {
            context.log.info(
                "collected \(collected.addresses) address(es), \(collected.claims) claim(s), \(collected.handles) handle(s), \(collected.blocks) block(s)"
            )
        }
        let (due, isWaiting) = mending.withLock { ($0.due(world, now: .now), $0.isWaiting) }
        for finding in due where try await book.repair(finding.repair) {
            context.log.notice("put right: \(finding.sentence)")
        }
        if isWaiting { queue.addAfter(.look, .seconds(Mending.grace)) }
        if let seconds = outcome.nextLook { queue.addAfter(.look, max(Self.gathering, .seconds(seconds))) }
    }

    /// Asks the server itself: the caches may lag behind.
    private func isStillTrue(_ release: AddressCollection.Release, _ snapshot: IPAMSnapshot) async throws -> Bool {
        var world = IPAMWorld(snapshot: snapshot)
        if let node = release.node {
            let current = try await context.client.find(.nodes, node)
            world.snapshot.nodes[node] = current?.labels
        }
        for address in release.addresses {
            guard let block = snapshot.blocks.block(containing: address), let ordinal = block.ordinal(of: address),
                let attribute = block.attribute(of: ordinal)
            else { return false }
            if let name = attribute.values["pod"], let namespace = attribute.values["namespace"] {
                let key = ObjectKey(namespace, name)
                world.pods[key] = try await context.client.find(.pods, key).map { PodUse($0) }
            }
            guard AddressCollection.leak(address, attribute, world) != nil else { return false }
        }
        return true
    }
}
