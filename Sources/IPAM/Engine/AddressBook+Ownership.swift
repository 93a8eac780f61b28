// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
public import NetworkModel
public import Values

/// What became of blocks that were to be claimed.
public struct ClaimedBlocks: Sendable, Hashable {
    /// The node's now, or before.
    public var claimed: [CIDR] = []
    /// Others'.
    public var refused: [CIDR] = []

    public init() {}
}

/// A network that no block of a pool lies in.
public struct UnclaimableNetwork: Error, Sendable, Hashable, CustomStringConvertible {
    public let network: CIDR
    public let reason: String
    public var description: String { "\(network) cannot be claimed: \(reason)" }
}

extension AddressBook {
    /// More blocks than that are claimed by nobody at once.
    private static let claimLimit: UInt128 = 4096

    /// Claims every block of a network for a node.
    ///
    /// - Throws: ``UnclaimableNetwork`` for a network that is in no pool, or smaller than the pool's blocks.
    public func claim(_ network: CIDR, for node: String) async throws -> ClaimedBlocks {
        let result = Counter(ClaimedBlocks())
        try await perform { book in
            book.view.take(from: book.store, now: book.time)
            for cidr in try Self.blocks(of: network, book.view.snapshot) {
                let isClaimed = try await book.claimBlock(cidr, for: node)
                if isClaimed {
                    result.value.claimed.append(cidr)
                } else {
                    result.value.refused.append(cidr)
                }
            }
        }
        return result.value
    }

    private static func blocks(of network: CIDR, _ snapshot: IPAMSnapshot) throws -> [CIDR] {
        guard let pool = snapshot.pools.first(where: { $0.cidr.contains(network) }) else {
            throw UnclaimableNetwork(network: network, reason: "no pool contains it")
        }
        guard network.prefixLength <= pool.blockSize else {
            throw UnclaimableNetwork(
                network: network, reason: "it is smaller than a block of pool \(pool.label), a /\(pool.blockSize)")
        }
        let count = UInt128(1) << UInt128(pool.blockSize - network.prefixLength)
        guard count <= claimLimit else {
            throw UnclaimableNetwork(network: network, reason: "it has \(count) blocks; at most \(claimLimit) at once")
        }
        let width = UInt128(network.family.bitWidth - pool.blockSize)
        return (0..<count).compactMap { index in network[index << width].flatMap { CIDR($0, pool.blockSize) } }
    }

    /// The claim as pending, the block, the claim confirmed; false when the block is another's.
    private func claimBlock(_ cidr: CIDR, for node: String) async throws -> Bool {
        let owner = AffinityOwner.host(node)
        for _ in 0..<Self.attempts {
            let stored = view.snapshot.blocks[cidr]
            if let stored, stored.owner != owner { return false }
            guard view.snapshot.blocks.networks(overlapping: cidr).allSatisfy({ $0 == cidr }) else { return false }
            var claim =
                view.snapshot.affinities[owner, cidr] ?? BlockAffinity(owner: owner, cidr: cidr, state: .pending)
            if stored != nil, claim.state == .confirmed, !claim.isDeleted { return true }
            claim.state = .pending
            claim.isDeleted = false
            // One that is pending already is left as it is: nobody else's write may depend on its version.
            var claims = [cidr: Claim(claim)]
            let lost = try await writePending(&claims)
            guard lost.isEmpty, let written = claims[cidr] else { continue }
            let block = stored ?? IPAMBlock(cidr, owner: owner, now: time)
            let outcomes = try await apply([IPAMChange(writing: .ipamBlocks, block.encodedForWrite())])
            guard outcomes.first?.object != nil else {
                try await abandon(written.claim)
                continue
            }
            try await confirm([written])
            return true
        }
        throw Contention(subject: "block \(cidr)")
    }

    /// A block with a free address for each family of the request, claimed where the node has none; no address is given
    /// out.
    ///
    /// - Throws: ``AddressRefusal`` when there is none to be had.
    public func ensureBlock(_ request: AddressRequest) async throws -> [CIDR] {
        for _ in 0..<Self.attempts {
            let plan: AddressPlan
            switch AddressAllocator.decide(request, snapshot(), now: time) {
            case .refuse(let refusal): throw refusal
            case .assign(let decided): plan = decided
            }
            var isDone = true
            for write in plan.writes where write.claim != nil && write.block.object.resourceVersion.isEmpty {
                isDone = try await claim(write.block.cidr, for: request.node).refused.isEmpty && isDone
            }
            if isDone { return plan.grants.map(\.block) }
        }
        throw Contention(subject: request.subject)
    }

    /// Gives up all claims to blocks of a network: empty blocks go, others stay as nobody's until they are empty. Returns
    /// how many claims went.
    @discardableResult
    public func giveUpClaims(in network: CIDR) async throws -> Int {
        try await giveUp { $0.filter { network.contains($0.cidr) } }
    }

    /// Gives up all that a node owned, as when it is removed; the addresses of pods that it leaves are the collector's. A
    /// node that owns nothing, or that nobody knows, is no error.
    @discardableResult
    public func removeHost(_ node: String) async throws -> Int {
        try await giveUp { claims in claims.filter { $0.owner == .host(node) } }
    }

    private func giveUp(_ chosen: @escaping @Sendable ([BlockAffinity]) -> [BlockAffinity]) async throws -> Int {
        let count = Counter(0)
        try await perform { book in
            for _ in 0..<Self.attempts {
                book.view.take(from: book.store, now: book.time)
                let claims = chosen(Array(book.view.snapshot.affinities)).sorted { $0.name < $1.name }
                if claims.isEmpty { return }
                for claim in claims where try await book.drop(claim, evenIfUsed: true) { count.value += 1 }
            }
            throw Contention(subject: "claims")
        }
        return count.value
    }

    /// What a handle holds, asked of the store itself; nil when there is no such handle.
    public func addresses(ofHandle handleID: String) async throws -> [HeldAddress]? {
        let result = Counter<[HeldAddress]?>(nil)
        try await perform { book in
            book.view.take(from: book.store, now: book.time)
            guard try await book.reread(handleID) != nil else { return }
            result.value = book.view.held(handleID)
        }
        return result.value
    }
}
