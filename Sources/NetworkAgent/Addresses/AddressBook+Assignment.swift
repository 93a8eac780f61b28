// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import NetworkModel
import Values

extension AddressBook {
    /// A request on its way, and the handle that was written for it.
    private struct Pending {
        let request: AddressRequest
        let continuation: CheckedContinuation<Assigned, any Error>
        var hasHandle = false
    }

    /// Decisions that touch the same block, to be written together.
    private struct Group {
        let claim: BlockAffinity?
        var block: IPAMBlock
        var members: [(pending: Pending, plan: AddressPlan, grant: Grant)]
    }

    func performAssignments(_ jobs: [(AddressRequest, CheckedContinuation<Assigned, any Error>)]) async {
        var pending = jobs.map { Pending(request: $0.0, continuation: $0.1) }
        for _ in 0..<Self.attempts where !pending.isEmpty {
            var retry: [Pending] = []
            for group in await decide(pending) {
                var group = group
                do {
                    if try await commit(&group) {
                        for (member, plan, grant) in group.members {
                            member.continuation.resume(
                                returning: Assigned(
                                    address: grant.address, block: grant.block, explanation: plan.explanation,
                                    isNew: true))
                        }
                    } else {
                        retry += group.members.map(\.pending)
                    }
                } catch {
                    for (member, _, _) in group.members { await fail(member, error) }
                }
            }
            pending = retry
        }
        for member in pending { await fail(member, Contention(subject: member.request.subject)) }
    }

    /// Answers at once what needs no write, and sorts the rest by block.
    private func decide(_ pending: [Pending]) async -> [Group] {
        var snapshot = snapshot()
        var groups: [CIDR: Group] = [:]
        for member in pending {
            let request = member.request
            if let held = held(request.handleID, snapshot) {
                let isNew = member.hasHandle
                member.continuation.resume(
                    returning: Assigned(
                        address: held.address, block: held.block,
                        explanation: "\(held.address) from block \(held.block), which the sandbox held already",
                        isNew: isNew))
                continue
            }
            switch AddressAllocator.decide(request, snapshot, now: .now) {
            case .refuse(let refusal): await fail(member, refusal)
            case .assign(let plan):
                guard let write = plan.writes.first, let grant = plan.grants.first else { continue }
                let cidr = write.block.cidr
                snapshot.blocks[cidr] = write.block
                if let claim = write.claim { snapshot.affinities.insert(claim) }
                groups[cidr, default: Group(claim: write.claim, block: write.block, members: [])].members.append(
                    (member, plan, grant))
                groups[cidr]?.block = write.block
            }
        }
        return groups.values.sorted { $0.block.cidr < $1.block.cidr }
    }

    private func held(_ handleID: String, _ snapshot: IPAMSnapshot) -> (address: IPAddress, block: CIDR)? {
        for block in snapshot.blocks.values {
            if let ordinal = block.ordinals(ofHandle: handleID).first, let address = block.address(at: ordinal) {
                return (address, block.cidr)
            }
        }
        return nil
    }

    private func fail(_ member: Pending, _ error: any Error) async {
        if member.hasHandle {
            do { try await deleteHandle(member.request.handleID) } catch {
                logger.warning("handle \(member.request.handleID) is left behind: \(error)")
            }
        }
        member.continuation.resume(throwing: error)
    }

    /// Writes claim, handles, block and the claim's confirmation, in this order: after a crash in between nothing is
    /// given twice, and the next writer finishes what is half done. False when somebody else was faster.
    private func commit(_ group: inout Group) async throws -> Bool {
        var claim: BlockAffinity?
        if let wanted = group.claim {
            guard let written = try await writePending(wanted) else { return false }
            claim = written
        }
        let cidr = group.block.cidr
        for index in group.members.indices where !group.members[index].pending.hasHandle {
            group.members[index].pending.hasHandle = true
        }
        try await writeHandles(group.members.map(\.pending.request.handleID), cidr)
        guard try await write(group.block) else {
            if let claim, let current = snapshot().blocks[cidr], current.node != node { await abandon(claim) }
            return false
        }
        if var claim {
            claim.state = .confirmed
            do { ownAffinities.note(try await client.update(.blockAffinities, claim.encoded())) } catch {
                // The block says whose it is; the claim is confirmed with the next address.
                logger.debug("affinity \(claim.name) is not confirmed yet: \(error)")
                try? await refreshAffinity(claim.name)
            }
        }
        return true
    }

    // MARK: Objects

    /// The claim as pending in the API; nil when it has to be looked at again.
    private func writePending(_ claim: BlockAffinity) async throws -> BlockAffinity? {
        var claim = claim
        if !claim.object.resourceVersion.isEmpty, claim.state == .pending, !claim.isDeleted { return claim }
        claim.state = .pending
        claim.isDeleted = false
        do {
            let object =
                claim.object.resourceVersion.isEmpty
                ? try await client.create(.blockAffinities, claim.encoded())
                : try await client.update(.blockAffinities, claim.encoded())
            ownAffinities.note(object)
            return try BlockAffinity(object)
        } catch let error as APIError where error.isConflict || error.isAlreadyExists || error.isNotFound {
            try await refreshAffinity(claim.name)
            return nil
        }
    }

    func refreshAffinity(_ name: String) async throws {
        do { ownAffinities.note(try await client.get(.blockAffinities, name)) } catch let error as APIError
            where error.isNotFound
        { ownAffinities.forget(name) }
    }

    /// Gives up a claim to a block that turned out to be another node's.
    private func abandon(_ claim: BlockAffinity) async {
        do {
            try await client.delete(.blockAffinities, claim.name, uid: claim.object.uid)
            ownAffinities.noteDeletion(claim.object)
        } catch {
            try? await refreshAffinity(claim.name)
        }
    }

    /// Writes a block; false when it changed since it was read, which has then been read again.
    func write(_ block: IPAMBlock) async throws -> Bool {
        let object = block.encodedForWrite()
        do {
            ownBlocks.note(
                object.resourceVersion.isEmpty
                    ? try await client.create(.ipamBlocks, object) : try await client.update(.ipamBlocks, object))
            return true
        } catch let error as APIError where error.isConflict || error.isAlreadyExists || error.isNotFound {
            try await refreshBlock(block)
            return false
        }
    }

    func refreshBlock(_ block: IPAMBlock) async throws {
        do { ownBlocks.note(try await client.get(.ipamBlocks, block.name)) } catch let error as APIError
            where error.isNotFound
        {
            if block.object.resourceVersion.isEmpty {
                ownBlocks.forget(block.name)
            } else {
                ownBlocks.noteDeletion(block.object)
            }
        }
    }

    /// One handle each with one address of the block: all at once.
    private func writeHandles(_ handleIDs: [String], _ block: CIDR) async throws {
        let client = client
        let known = handles
        let written = try await withThrowingTaskGroup(of: IPAMHandle.self) { group in
            for handleID in handleIDs {
                group.addTask { try await Self.write(handleID, block, known[handleID], client) }
            }
            return try await group.reduce(into: [IPAMHandle]()) { $0.append($1) }
        }
        for handle in written { handles[handle.handleID] = handle }
    }

    private static func write(
        _ handleID: String, _ block: CIDR, _ known: IPAMHandle?, _ client: KubeClient
    ) async throws -> IPAMHandle {
        var handle = IPAMHandle(handleID: handleID)
        handle.increment(block)
        if let known, known.blocks == handle.blocks { return known }
        handle.object = known?.object ?? handle.object
        for _ in 0..<attempts {
            do {
                let object = handle.encoded()
                return IPAMHandle(
                    object.resourceVersion.isEmpty
                        ? try await client.create(.ipamHandles, object) : try await client.update(.ipamHandles, object))
            } catch let error as APIError where error.isAlreadyExists || error.isConflict || error.isNotFound {
                do { handle.object = try await client.get(.ipamHandles, handle.object.name) } catch let error
                    as APIError
                    where error.isNotFound
                { handle.object = IPAMHandle(handleID: handleID).object }
            }
        }
        throw Contention(subject: "handle \(handleID)")
    }

    /// Not there is no error.
    func deleteHandle(_ handleID: String) async throws {
        handles[handleID] = nil
        do { try await client.delete(.ipamHandles, IPAMNames.handle(handleID)) } catch let error as APIError
            where error.isNotFound
        {}
    }
}
