// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
public import NetworkModel
import Values

/// What was taken back.
public struct Collected: Sendable, Hashable {
    public var addresses = 0
    public var claims = 0
    public var handles = 0
    public var blocks = 0

    public init() {}
}

extension AddressBook {
    /// Carries out what ``AddressCollection`` decided. Each release is asked about once more, and spares an address that
    /// was given out again since `snapshot`.
    ///
    /// - Parameters:
    ///   - snapshot: what the decisions were made from.
    ///   - isStillTrue: asks those who know, not a cache.
    ///   - nodeExists: the same of a node whose claims are to go.
    public func collect(
        _ outcome: AddressCollection.Outcome, decidedFrom snapshot: IPAMSnapshot,
        isStillTrue: @escaping @Sendable (AddressCollection.Release) async throws -> Bool,
        nodeExists: @escaping @Sendable (String) async throws -> Bool
    ) async throws -> Collected {
        var items: [ReleaseItem] = []
        for release in outcome.releases where try await isStillTrue(release) {
            items += release.addresses.map { address in
                ReleaseItem(
                    address: address, handleID: release.handleID, sequence: Self.sequence(of: address, snapshot))
            }
            logger.notice(
                "\(release.addresses.count) address(es) of \(release.handleID) are taken back: \(release.reason)")
        }
        var collected = Collected()
        for outcome in try await release(items) { collected.addresses += outcome.addresses.count }
        let result = Counter(collected)
        try await perform { book in
            book.view.take(from: book.store, now: book.time)
            var counts = result.value
            for entry in outcome.claims {
                let node = entry.claim.owner.node
                let isGone = node.map { book.view.snapshot.nodes[$0] == nil } ?? false
                if isGone, let node, try await nodeExists(node) { continue }
                if try await book.drop(entry.claim) { counts.claims += 1 }
            }
            for entry in outcome.handles {
                // The blocks that it names, as they are now: the watch may lag behind.
                guard let handle = try await book.reread(entry.handle.handleID),
                    handle.object.resourceVersion == entry.handle.object.resourceVersion,
                    book.view.held(handle.handleID).isEmpty
                else { continue }
                let changes = [IPAMChange(.delete, .ipamHandles, entry.handle.object)]
                if case .deleted? = try await book.apply(changes).first { counts.handles += 1 }
            }
            for cidr in outcome.obsoleteBlocks {
                guard let block = book.view.snapshot.blocks[cidr], block.owner == nil, block.isEmpty else { continue }
                if try await book.delete(block) { counts.blocks += 1 }
            }
            for block in outcome.swept {
                _ = try await book.apply([IPAMChange(.update, .ipamBlocks, block.encodedForWrite())])
            }
            result.value = counts
        }
        return result.value
    }

    private static func sequence(of address: IPAddress, _ snapshot: IPAMSnapshot) -> Int64? {
        guard let block = snapshot.blocks.block(containing: address), let ordinal = block.ordinal(of: address) else {
            return nil
        }
        return block.sequenceNumberForAllocation[String(ordinal)]
    }

    /// Gives up a claim: its block goes with it when it is empty, and stays as nobody's when somebody lives there and
    /// the node does not come back, or with `evenIfUsed`. False when it changed meanwhile.
    func drop(_ claim: BlockAffinity, evenIfUsed: Bool = false) async throws -> Bool {
        guard let current = view.claim(named: claim.name) else { return false }
        if let block = view.snapshot.blocks[current.cidr], block.owner == current.owner {
            guard !block.isEmpty else { return try await give(up: current) }
            guard evenIfUsed || current.owner.node.map({ view.snapshot.nodes[$0] == nil }) ?? false else {
                return false
            }
            var stray = block
            stray.affinity = nil
            stray.claimTime = nil
            let change = IPAMChange(.update, .ipamBlocks, stray.encodedForWrite())
            guard try await apply([change]).first?.object != nil else { return false }
        }
        if case .deleted? = try await apply([IPAMChange(.delete, .blockAffinities, current.object)]).first {
            return true
        }
        return false
    }

    /// Makes one repair of ``IPAMCheck``; false when the objects changed since the check, or when it is for a human.
    public func repair(_ repair: IPAMCheck.Repair) async throws -> Bool {
        if case .release(let handleID, let addresses) = repair {
            let outcomes = try await release(addresses.map { ReleaseItem(address: $0, handleID: handleID) })
            return outcomes.contains { !$0.addresses.isEmpty }
        }
        let result = Counter(false)
        try await perform { book in
            book.view.take(from: book.store, now: book.time)
            result.value = try await book.carryOut(repair)
        }
        return result.value
    }

    private func carryOut(_ repair: IPAMCheck.Repair) async throws -> Bool {
        switch repair {
        case .writeBlock(let block): return try await wrote(.ipamBlocks, block.encodedForWrite())
        case .writeClaim(let claim): return try await wrote(.blockAffinities, claim.encoded())
        case .writeHandle(let handle): return try await wrote(.ipamHandles, handle.encoded())
        case .deleteClaim(let claim): return try await removed(.blockAffinities, claim.object)
        case .deleteHandle(let handle): return try await removed(.ipamHandles, handle.object)
        case .assign(let address, let pod, let node):
            guard var block = view.snapshot.blocks.block(containing: address), let ordinal = block.ordinal(of: address)
            else { return false }
            let handleID = "repaired.\(pod.namespace ?? "").\(pod.name)"
            var values = ["pod": pod.name, "node": node]
            values["namespace"] = pod.namespace
            guard block.allocate(ordinal: ordinal, handleID: handleID, values: values) else { return false }
            var handle = IPAMHandle(handleID: handleID)
            for held in view.held(handleID) { handle.increment(held.block) }
            handle.increment(block.cidr)
            guard try await write([handle]).first ?? false else { return false }
            return try await wrote(.ipamBlocks, block.encodedForWrite())
        case .release, .byHand: return false
        }
    }

    private func wrote(_ resource: GroupVersionResource, _ object: KubeObject) async throws -> Bool {
        try await apply([IPAMChange(writing: resource, object)]).first?.object != nil
    }

    private func removed(_ resource: GroupVersionResource, _ object: KubeObject) async throws -> Bool {
        if case .deleted? = try await apply([IPAMChange(.delete, resource, object)]).first { true } else { false }
    }
}
