// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
import NetworkModel
import Values

extension AddressBook {
    /// A request on its way.
    struct Pending {
        let request: AddressRequest
        let continuation: Answer<Assigned>
        /// Something was written for it: if it fails, that is to be taken back.
        var hasWritten = false
        /// Clauses on what was committed in an earlier round.
        var explanations: [String] = []
    }

    /// Decisions that are committed together: each block is written once.
    private struct Round {
        var writes: [BlockWrite] = []
        var members: [(pending: Pending, plan: AddressPlan, handle: IPAMHandle)] = []

        /// A later write of the same block holds what the earlier ones gave out as well.
        mutating func add(_ write: BlockWrite) -> BlockWrite? {
            guard let index = writes.firstIndex(where: { $0.block.cidr == write.block.cidr }) else {
                writes.append(write)
                return nil
            }
            let earlier = writes[index]
            writes[index] = write
            return earlier
        }
    }

    func performAssignments(_ jobs: [(AddressRequest, Answer<Assigned>)]) async {
        var pending = jobs.map { Pending(request: $0.0, continuation: $0.1) }
        for _ in 0..<Self.attempts where !pending.isEmpty {
            pending = await vouch(pending)
            let (round, claims) = await decide(pending)
            guard !round.members.isEmpty else { return }
            do {
                pending = try await commit(round, claims)
            } catch {
                for member in round.members { await fail(member.pending, error, hasWritten: true) }
                return
            }
        }
        for member in pending { await fail(member, Contention(subject: member.request.subject)) }
    }

    /// What a handle holds already may be about to be released by a process that died: the write may be on its way. A
    /// new version of the block makes it fail, before the address is answered again. Returns the requests that can go on.
    private func vouch(_ pending: [Pending]) async -> [Pending] {
        view.take(from: store, now: time)
        var ready: [Pending] = []
        for member in pending {
            let handleID = member.request.handleID
            do {
                for _ in 0..<Self.attempts where !vouched.contains(handleID) {
                    let blocks = view.networks(ofHandle: handleID).compactMap { view.snapshot.blocks[$0] }
                    let outcomes = try await apply(
                        blocks.map { IPAMChange(.update, .ipamBlocks, $0.encodedForWrite()) })
                    if outcomes.allSatisfy({ $0.object != nil }) { vouched.insert(handleID) }
                }
                ready.append(member)
            } catch {
                await fail(member, error)
            }
        }
        return ready
    }

    /// Answers at once what needs no write, and collects what the others need.
    private func decide(_ pending: [Pending]) async -> (Round, [CIDR: Claim]) {
        view.take(from: store, now: time)
        var round = Round()
        var claims: [CIDR: Claim] = [:]
        var refused: [(Pending, AddressRefusal)] = []
        var stagedBlocks: [(CIDR, IPAMBlock?)] = []
        var stagedClaims: [String] = []
        for member in pending {
            let held = view.held(member.request.handleID)
            guard let request = Self.missing(member.request, held) else {
                let explanation =
                    member.explanations.isEmpty
                    ? "\(held.map { "\($0.address) from block \($0.block)" }.joined(separator: " and ")), which the sandbox held already"
                    : member.explanations.joined(separator: "; ")
                answer(
                    member,
                    Assigned(
                        addresses: Self.inOrder(held, member.request), explanation: explanation,
                        isNew: member.hasWritten))
                continue
            }
            switch AddressAllocator.decide(request, view.snapshot, now: time) {
            case .refuse(let refusal): refused.append((member, refusal))
            case .assign(let plan):
                var handle = IPAMHandle(handleID: request.handleID)
                for address in held { handle.increment(address.block) }
                for grant in plan.grants { handle.increment(grant.block) }
                for write in plan.writes {
                    stagedBlocks.append(view.stage(write.block))
                    _ = round.add(write)
                    if let claim = write.claim {
                        view.stage(claim)
                        stagedClaims.append(claim.name)
                        claims[write.block.cidr, default: Claim(claim)].former = write.formerClaim
                    }
                }
                round.members.append((member, plan, handle))
            }
        }
        view.unstage(stagedBlocks, claims: stagedClaims)
        for (member, refusal) in refused { await fail(member, refusal) }
        return (round, claims)
    }

    /// A claim to be made or confirmed with a block.
    struct Claim {
        var claim: BlockAffinity
        /// The claim of whom the block is taken from.
        var former: BlockAffinity?

        init(_ claim: BlockAffinity) { self.claim = claim }
    }

    /// What of a request is not held yet; nil when all of it is.
    static func missing(_ request: AddressRequest, _ held: [HeldAddress]) -> AddressRequest? {
        guard !held.isEmpty else { return request }
        var rest = request
        if !request.explicit.isEmpty {
            rest.explicit = request.explicit.filter { wanted in !held.contains { $0.address == wanted } }
            rest.families = rest.explicit.map(\.family)
            return rest.explicit.isEmpty ? nil : rest
        }
        rest.families = request.families.filter { family in
            held.count { $0.address.family == family } < request.count
        }
        guard let family = rest.families.first else { return nil }
        // A count that is half there is made up for one family at a time.
        let missing = request.count - held.count { $0.address.family == family }
        if missing != request.count, rest.families.count > 1 { rest.families = [family] }
        rest.count = missing
        return rest
    }

    private static func inOrder(_ held: [HeldAddress], _ request: AddressRequest) -> [HeldAddress] {
        guard request.explicit.isEmpty else {
            return request.explicit.compactMap { wanted in held.first { $0.address == wanted } }
        }
        return request.families.flatMap { family in held.filter { $0.address.family == family }.prefix(request.count) }
    }

    /// What comes after the deadline is nobody's: it goes back, unless the sandbox had it before.
    private func answer(_ member: Pending, _ assigned: Assigned) {
        guard !member.continuation.resume(returning: assigned), assigned.isNew else { return }
        let handleID = member.request.handleID
        logger.notice("handle \(handleID) got its address too late, and gives it back")
        // Not structured: who asked has been told already, and nobody waits for this.
        Task { [weak self] in
            do { try await self?.release(handleIDs: [handleID]) } catch {
                self?.logger.error("handle \(handleID) is left to the garbage collector: \(error)")
            }
        }
    }

    /// Takes back what a request that fails has left, as far as the store can be reached.
    private func fail(_ member: Pending, _ error: any Error, hasWritten: Bool = false) async {
        let handleID = member.request.handleID
        vouched.remove(handleID)
        if member.hasWritten || hasWritten {
            do {
                // What the failed write was about is not known: it may have been made.
                try await reread(handleID)
                var results: [ReleaseItem: ReleaseOutcome] = [:]
                try await release([ReleaseItem(handleID: handleID)], &results)
            } catch {
                handles[handleID] = nil
                do {
                    if let journal { try journal.append([ReleaseItem(handleID: handleID)]) }
                } catch {
                    logger.error("handle \(handleID) is left to the garbage collector: \(error)")
                }
            }
        }
        member.continuation.resume(throwing: error)
    }

    /// Writes claims and handles, then blocks, then the claims' confirmation: after a crash in between nothing is given
    /// twice, and the next writer finishes what is half done. Returns the requests that have to be decided anew.
    private func commit(_ round: Round, _ claims: [CIDR: Claim]) async throws -> [Pending] {
        var claims = claims
        let first = round.members.filter { !$0.pending.hasWritten }.map(\.handle.handleID)
        let handles = round.members.map(\.handle)
        // Neither depends on the other, and blocks on both: one wait for them all.
        let pendingWrite = pendingWrite(claims)
        let handleWrite = handleWrite(handles, touching: Set(first))
        let ahead = try await apply(pendingWrite.changes + handleWrite.changes)
        var lost = Self.take(pendingWrite, ahead.prefix(pendingWrite.changes.count), &claims)
        let handlesWritten = try await take(
            handleWrite, ahead.dropFirst(pendingWrite.changes.count), handles)
        // A request whose handle is not as it should be is decided anew, and with it all that share its blocks: the
        // block to be written holds its address.
        for (member, isWritten) in zip(round.members, handlesWritten) where !isWritten {
            lost.formUnion(member.plan.writes.map(\.block.cidr))
        }
        lost = Self.spread(lost, round.members.map { $0.plan.writes.map(\.block.cidr) })
        let writes = round.writes.filter { !lost.contains($0.block.cidr) }
        let outcomes = try await apply(
            writes.map { IPAMChange(writing: .ipamBlocks, $0.block.encodedForWrite()) })
        var confirmed: [Claim] = []
        for (write, outcome) in zip(writes, outcomes) {
            let cidr = write.block.cidr
            guard outcome.object != nil else {
                lost.insert(cidr)
                if let claim = claims[cidr]?.claim { try await abandon(claim) }
                continue
            }
            if let claim = claims[cidr] { confirmed.append(claim) }
        }
        try await confirm(confirmed)
        var again: [Pending] = []
        for (member, plan, _) in round.members {
            var member = member
            member.hasWritten = true
            let made = plan.grants.filter { !lost.contains($0.block) }
            guard made.count < plan.grants.count else {
                let explanation = (member.explanations + [plan.explanation]).joined(separator: "; ")
                let held = view.held(member.request.handleID)
                answer(
                    member,
                    Assigned(addresses: Self.inOrder(held, member.request), explanation: explanation, isNew: true))
                continue
            }
            member.explanations += made.map(\.sentence)
            again.append(member)
        }
        return again
    }

    /// All blocks that hang together with a lost one through a request.
    private static func spread(_ lost: Set<CIDR>, _ plans: [[CIDR]]) -> Set<CIDR> {
        var lost = lost
        var count = -1
        while count != lost.count {
            count = lost.count
            for plan in plans where plan.contains(where: lost.contains) { lost.formUnion(plan) }
        }
        return lost
    }

    // MARK: Claims

    /// Changes of claims, and which claims they are of.
    typealias PendingWrite = (changes: [IPAMChange], places: [CIDR])

    /// Writes the claims as pending; returns the networks of those that have to be looked at again.
    func writePending(_ claims: inout [CIDR: Claim]) async throws -> Set<CIDR> {
        let write = pendingWrite(claims)
        return Self.take(write, try await apply(write.changes)[...], &claims)
    }

    private func pendingWrite(_ claims: [CIDR: Claim]) -> PendingWrite {
        var write: PendingWrite = ([], [])
        for cidr in claims.keys.sorted() {
            guard var claim = claims[cidr]?.claim else { continue }
            if !claim.object.resourceVersion.isEmpty, claim.state == .pending, !claim.isDeleted,
                view.claim(named: claim.name) == claim
            {
                continue
            }
            claim.state = .pending
            claim.isDeleted = false
            write.changes.append(IPAMChange(writing: .blockAffinities, claim.encoded()))
            write.places.append(cidr)
        }
        return write
    }

    private static func take(
        _ write: PendingWrite, _ outcomes: ArraySlice<IPAMOutcome>, _ claims: inout [CIDR: Claim]
    ) -> Set<CIDR> {
        var lost: Set<CIDR> = []
        for (cidr, outcome) in zip(write.places, outcomes) {
            if let object = outcome.object, let claim = try? BlockAffinity(object) {
                claims[cidr]?.claim = claim
            } else {
                lost.insert(cidr)
            }
        }
        return lost
    }

    /// The block says whose it is; a claim that cannot be confirmed now is confirmed with the next address.
    func confirm(_ claims: [Claim]) async throws {
        var changes = claims.map { entry in
            var claim = entry.claim
            claim.state = .confirmed
            return IPAMChange(.update, .blockAffinities, claim.encoded())
        }
        changes += claims.compactMap(\.former).map { IPAMChange(.delete, .blockAffinities, $0.object) }
        do { _ = try await apply(changes) } catch {
            logger.debug("\(changes.count) claim(s) are not confirmed yet: \(error)")
        }
    }

    /// Gives up a claim to a block that turned out to be another's.
    func abandon(_ claim: BlockAffinity) async throws {
        guard let block = view.snapshot.blocks[claim.cidr], block.owner != claim.owner else { return }
        _ = try await apply([IPAMChange(.delete, .blockAffinities, claim.object)])
    }
}
