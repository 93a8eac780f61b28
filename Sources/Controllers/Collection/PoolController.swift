// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import Logging
import NetworkModel
import Values

/// Says on each IPPool whether addresses may be allocated from it, and keeps the deletion of those that have the
/// finalizer waiting until their last block is empty. `PoolStatus` decides.
///
/// As with Calico's own CustomResourceDefinitions, a pool without the finalizer goes at once; annotation
/// `catbird.dev/delete-when-empty: "true"` asks for it.
struct PoolController: Controller {
    private enum Work: Sendable, Hashable {
        case look
    }

    private static let annotation = "catbird.dev/delete-when-empty"

    private let context: ControllerContext
    private let objects: IPAMCaches
    private let book: AddressBook
    private let queue = WorkQueue<Work>("ippool")

    /// - Parameter objects: caches that somebody else runs.
    init(_ context: ControllerContext, objects: IPAMCaches, book: AddressBook) {
        self.context = context
        self.objects = objects
        self.book = book
    }

    func register() {
        let queue = queue
        objects.pools.onChange { _ in queue.add(.look) }
        let pools = objects.pools
        objects.blocks.onChange { change in
            // Only a deletion waits for blocks to go.
            guard change.new == nil, pools.all.contains(where: \.isBeingDeleted) else { return }
            queue.add(.look)
        }
    }

    func run() async {
        await objects.pools.waitUntilSynced()
        await objects.blocks.waitUntilSynced()
        queue.add(.look)
        await queue.run(workers: 1) { _ in try await look() }
    }

    /// A write that lost a race is tried again by the queue, from what the watch has brought by then.
    private func look() async throws {
        let pools = objects.pools.all
        // By what the watch shows: the book goes on believing in a block that it marked itself until it hears that its
        // deletion is done, and no event would come after that.
        var blocks: BlockTable = [:]
        for block in objects.blocks.all.compactMap({ try? IPAMBlock($0) }) { blocks[block.cidr] = block }
        let verdicts = PoolStatus.verdicts(pools, blocks: blocks)
        for verdict in verdicts {
            guard let pool = pools.first(where: { $0.name == verdict.pool }) else { continue }
            do {
                try await say(verdict, pool)
                if verdict.releasesClaims, let cidr = pool["spec"]["cidr"].string.flatMap({ CIDR($0) }) {
                    let count = try await book.giveUpClaims(in: cidr.network)
                    if count > 0 {
                        context.log.notice(
                            "pool \(pool.name) is being deleted: \(count) claim(s) to its blocks are given up")
                    }
                }
                try await setFinalizer(verdict, pool)
            } catch let error as APIError where error.isNotFound {
                continue
            }
        }
    }

    private func say(_ verdict: PoolStatus.Verdict, _ pool: KubeObject) async throws {
        let conditions = pool["status"]["conditions"].array ?? []
        let old = conditions.first { $0["type"].string == "Allocatable" }
        let status = verdict.isAllocatable ? "True" : "False"
        guard
            old?["status"].string != status || old?["reason"].string != verdict.reason.rawValue
                || old?["message"].string != verdict.message
        else { return }
        let time = old?["status"].string == status ? old?["lastTransitionTime"] : nil
        let condition: JSON = [
            "type": "Allocatable", "status": JSON(status), "reason": JSON(verdict.reason.rawValue),
            "message": JSON(verdict.message), "lastTransitionTime": time ?? JSON("\(Timestamp.now)"),
        ]
        let others = conditions.filter { $0["type"].string != "Allocatable" }
        try await context.client.patch(
            .ipPools, pool.name, type: .merge,
            [
                "metadata": ["resourceVersion": JSON(pool.resourceVersion)],
                "status": ["conditions": .array(others + [condition])],
            ], subresource: "status")
    }

    private func setFinalizer(_ verdict: PoolStatus.Verdict, _ pool: KubeObject) async throws {
        let has = pool.finalizers.contains(PoolStatus.finalizer)
        let wants = has || pool.annotations[Self.annotation] == "true"
        var finalizers = pool.finalizers.filter { $0 != PoolStatus.finalizer }
        if verdict.hasFinalizer, wants { finalizers.append(PoolStatus.finalizer) }
        // None is added to what is being deleted already.
        guard finalizers != pool.finalizers, has || !pool.isBeingDeleted else { return }
        try await context.client.patch(
            .ipPools, pool.name, type: .merge, ["metadata": ["finalizers": .array(finalizers.map { JSON($0) })]])
    }
}
