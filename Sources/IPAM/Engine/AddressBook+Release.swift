// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
import NetworkModel
public import Values

extension AddressBook {
    /// Takes back all addresses of the handles. None held is no error. With a journal a release that the store cannot
    /// take now is written down and made good by ``replay()``.
    @discardableResult
    public func release(handleIDs: [String]) async throws -> [IPAddress] {
        do {
            return try await release(handleIDs.map { ReleaseItem(handleID: $0) }).flatMap(\.addresses)
        } catch {
            guard let journal else { throw error }
            let held = handleIDs.flatMap { view.held($0) }.map(\.address)
            try releaseLater(handleIDs, journal)
            logger.notice("\(handleIDs.count) release(s) wait until the store can be reached: \(error)")
            return held
        }
    }

    /// Writes the release down without asking the store; false when there is no journal.
    public func releaseLater(handleIDs: [String]) throws -> Bool {
        guard let journal else { return false }
        try releaseLater(handleIDs, journal)
        return true
    }

    private func releaseLater(_ handleIDs: [String], _ journal: ReleaseJournal) throws {
        view.take(from: store, now: time)
        try journal.append(handleIDs.flatMap { recorded($0) })
    }

    /// What is held now, each address with its sequence number: what is given out later is not meant.
    private func recorded(_ handleID: String) -> [ReleaseItem] {
        let items = view.held(handleID).map { held in
            let block = view.snapshot.blocks[held.block]
            let sequence = block?.ordinal(of: held.address).flatMap {
                block?.sequenceNumberForAllocation[String($0)]
            }
            return ReleaseItem(address: held.address, handleID: handleID, sequence: sequence)
        }
        return items.isEmpty ? [ReleaseItem(handleID: handleID)] : items
    }

    /// Makes good what was written down while the store could not be reached. Repeating it is harmless: an address that
    /// is free, or was given out again, is left alone.
    public func replay() async throws {
        guard let journal, !journal.items.isEmpty else { return }
        let items = journal.items
        let outcomes = try await release(items)
        try journal.remove(items)
        let count = outcomes.reduce(0) { $0 + $1.addresses.count }
        logger.notice("\(items.count) release(s) that had to wait are made good: \(count) address(es) are free")
    }

    func performReleases(_ jobs: [([ReleaseItem], Answer<[ReleaseOutcome]>)]) async {
        do {
            var results: [ReleaseItem: ReleaseOutcome] = [:]
            try await release(Set(jobs.flatMap(\.0)), &results)
            for (items, continuation) in jobs {
                continuation.resume(returning: items.map { results[$0] ?? .released([]) })
            }
        } catch {
            for (_, continuation) in jobs { continuation.resume(throwing: error) }
        }
    }

    /// Blocks first, then handles: while an address is held there is a handle to find it by.
    func release(_ items: Set<ReleaseItem>, _ results: inout [ReleaseItem: ReleaseOutcome]) async throws {
        view.take(from: store, now: time)
        if items.contains(where: { $0.handleID == nil }) { vouched = [] }
        vouched.subtract(items.compactMap(\.handleID))
        // What this process has not seen may have been given out before it was started, or by another.
        for item in items where item.address == nil {
            if let handleID = item.handleID, view.networks(ofHandle: handleID).isEmpty, handles[handleID] == nil {
                try await reread(handleID)
            }
        }
        var touched: [String: Set<CIDR>] = [:]
        var open = items
        for _ in 0..<Self.attempts where !open.isEmpty { open = try await releaseOnce(open, &results, &touched) }
        guard open.isEmpty else { throw Contention(subject: "\(open.count) address(es) to be released") }
        for item in items where item.address == nil {
            if let handleID = item.handleID { touched[handleID, default: []].formUnion([]) }
        }
        let (gone, left) = touched.keys.sorted().reduce(into: ([String](), [String]())) { parts, handleID in
            if view.networks(ofHandle: handleID).isEmpty { parts.0.append(handleID) } else { parts.1.append(handleID) }
        }
        try await deleteHandles(gone)
        for handleID in left { try await recount(handleID) }
    }

    /// Writes every block that one of the items lies in; those whose block changed meanwhile are returned.
    private func releaseOnce(
        _ items: Set<ReleaseItem>, _ results: inout [ReleaseItem: ReleaseOutcome],
        _ touched: inout [String: Set<CIDR>]
    ) async throws -> Set<ReleaseItem> {
        var plans: [CIDR: (block: IPAMBlock, freed: [ReleaseItem: [IPAddress]], handles: Set<String>)] = [:]
        for item in items.sorted(by: Self.order) {
            for cidr in networks(item) {
                guard let block = plans[cidr]?.block ?? view.snapshot.blocks[cidr] else { continue }
                let ordinals = ordinals(item, block, &results)
                guard !ordinals.isEmpty else { continue }
                var plan = plans[cidr] ?? (block, [:], [])
                plan.handles.formUnion(ordinals.compactMap { block.attribute(of: $0)?.handleID })
                plan.freed[item] = ordinals.compactMap { block.address(at: $0) }
                plan.block.release(
                    ordinals: ordinals, now: time, cooldown: view.snapshot.config.cooldownSeconds)
                plans[cidr] = plan
            }
        }
        var again: Set<ReleaseItem> = []
        let order = plans.keys.sorted()
        let obsolete = order.filter { plans[$0].map { $0.block.isEmpty && $0.block.affinity == nil } ?? false }
        let kept = order.filter { !obsolete.contains($0) }
        var done: Set<CIDR> = []
        for cidr in obsolete {
            if let plan = plans[cidr], try await delete(plan.block) { done.insert(cidr) }
        }
        let changes = kept.compactMap { plans[$0] }.map { IPAMChange(.update, .ipamBlocks, $0.block.encodedForWrite()) }
        for (cidr, outcome) in zip(kept, try await apply(changes)) {
            if outcome.object != nil { done.insert(cidr) }
        }
        for cidr in order {
            guard let plan = plans[cidr] else { continue }
            guard done.contains(cidr) else {
                again.formUnion(plan.freed.keys)
                continue
            }
            for handleID in plan.handles { touched[handleID, default: []].insert(cidr) }
            for (item, addresses) in plan.freed {
                results[item] = .released((results[item]?.addresses ?? []) + addresses)
            }
        }
        return again
    }

    private static func order(_ left: ReleaseItem, _ right: ReleaseItem) -> Bool {
        (left.handleID ?? "", left.address?.description ?? "") < (
            right.handleID ?? "", right.address?.description ?? ""
        )
    }

    private func networks(_ item: ReleaseItem) -> [CIDR] {
        guard let address = item.address else { return item.handleID.map { view.networks(ofHandle: $0) } ?? [] }
        return IPPool.blockSizes(address.family).compactMap { CIDR(address, $0)?.network }
            .filter { view.snapshot.blocks[$0] != nil }
    }

    private func ordinals(
        _ item: ReleaseItem, _ block: IPAMBlock, _ results: inout [ReleaseItem: ReleaseOutcome]
    ) -> [Int] {
        guard let address = item.address else { return item.handleID.map { block.ordinals(ofHandle: $0) } ?? [] }
        guard let ordinal = block.ordinal(of: address), let attribute = block.attribute(of: ordinal) else { return [] }
        let isOther = item.handleID.map { $0 != attribute.handleID } ?? false
        let isLater = item.sequence.map { $0 != block.sequenceNumberForAllocation[String(ordinal)] } ?? false
        guard !isOther, !isLater else {
            results[item] = .heldByAnother(handleID: attribute.handleID)
            return []
        }
        return [ordinal]
    }

    /// Brings a handle's counts in line with what the blocks say it still holds.
    private func recount(_ handleID: String) async throws {
        for _ in 0..<Self.attempts {
            if handles[handleID] == nil { try await reread(handleID) }
            var handle = IPAMHandle(handleID: handleID)
            for held in view.held(handleID) { handle.increment(held.block) }
            if try await write([handle]).first ?? true { return }
        }
        throw Contention(subject: "handle \(handleID)")
    }
}
