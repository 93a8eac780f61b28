// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// Whether blocks, claims, handles, pods and pools agree, and what makes them agree again.
public enum IPAMCheck {
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        case unreadableObject
        case lostAddress
        case overlappingBlocks
        case blockOutsidePools
        case wrongBlockSize
        case missingClaim
        case unconfirmedClaim
        case claimWithoutBlock
        case claimOfAnothersBlock
        case strayHandle
        case missingHandle
        case wrongHandleCount
        case leakedAddress
        case unallocatedAddress
        case addressOutsidePools
        case sharedAddress
    }

    /// What `catbird ipam check --fix` does about a finding.
    public enum Repair: Sendable, Hashable {
        /// Write the block as it is here.
        case writeBlock(IPAMBlock)
        /// Create or confirm the claim.
        case writeClaim(BlockAffinity)
        case deleteClaim(BlockAffinity)
        case deleteHandle(IPAMHandle)
        /// Write the handle as it is here.
        case writeHandle(IPAMHandle)
        case release(handleID: String, addresses: [IPAddress])
        /// Note the address as the pod's, whose network uses it already.
        case assign(IPAddress, pod: ObjectKey, node: String)
        /// Nothing that a program may decide; what a human does.
        case byHand(String)
    }

    public struct Finding: Sendable, Hashable {
        public let kind: Kind
        /// `IPAMBlock 10-0-0-0-26`
        public let object: String
        public let sentence: String
        public let repair: Repair

        public var json: JSON {
            [
                "kind": JSON(kind.rawValue), "object": JSON(object), "message": JSON(sentence),
                "repair": JSON("\(repair)"),
            ]
        }
    }

    /// All findings, blocks first: their repair may settle others, which a second check shows.
    public static func check(_ world: IPAMWorld, now: Timestamp) -> [Finding] {
        var findings = world.problems.map {
            Finding(
                kind: .unreadableObject, object: $0.object, sentence: "\($0.object) cannot be used: \($0.reason)",
                repair: .byHand("correct or delete \($0.object)"))
        }
        findings += blocks(world)
        findings += claims(world)
        findings += handles(world)
        findings += addresses(world)
        return findings
    }

    // MARK: Blocks and claims

    private static func blocks(_ world: IPAMWorld) -> [Finding] {
        var findings: [Finding] = []
        let blocks = world.snapshot.blocks
        for cidr in blocks.networks {
            guard let block = blocks[cidr] else { continue }
            let object = "IPAMBlock \(block.name)"
            if let mended = block.withoutLostAddresses {
                let count = mended.freeCount - block.freeCount
                findings.append(
                    Finding(
                        kind: .lostAddress, object: object,
                        sentence: "\(count) addresses of block \(cidr) are neither in use nor in its list of free ones",
                        repair: .writeBlock(mended)))
            }
            for other in blocks.networks(overlapping: cidr) where other < cidr {
                findings.append(
                    Finding(
                        kind: .overlappingBlocks, object: object,
                        sentence: "block \(cidr) overlaps block \(other): an address may be given twice",
                        repair: .byHand("drain one of them: catbird ipam migrate")))
            }
            if let pool = world.snapshot.pools.first(where: { $0.cidr.contains(cidr) }) {
                if pool.blockSize != cidr.prefixLength {
                    findings.append(
                        Finding(
                            kind: .wrongBlockSize, object: object,
                            sentence: "block \(cidr) is not of the size of pool \(pool.label), /\(pool.blockSize)",
                            repair: .byHand("drain it: catbird ipam migrate")))
                }
            } else {
                findings.append(
                    Finding(
                        kind: .blockOutsidePools, object: object,
                        sentence:
                            "block \(cidr) (\(block.usedCount) addresses in use) is in no pool: its pods have no NAT and no encapsulation",
                        repair: .byHand("recreate its pods, or make the pool again")))
            }
            if let owner = block.owner, world.snapshot.affinities[owner, cidr] == nil {
                var claim = BlockAffinity(owner: owner, cidr: cidr, state: .pending)
                claim.state = .confirmed
                findings.append(
                    Finding(
                        kind: .missingClaim, object: object,
                        sentence: "block \(cidr) is \(owner.name)'s and no BlockAffinity says so",
                        repair: .writeClaim(claim)))
            }
        }
        return findings
    }

    private static func claims(_ world: IPAMWorld) -> [Finding] {
        world.snapshot.affinities.sorted { $0.name < $1.name }.compactMap { claim in
            let object = "BlockAffinity \(claim.name)"
            guard let block = world.snapshot.blocks[claim.cidr] else {
                return Finding(
                    kind: .claimWithoutBlock, object: object,
                    sentence: "\(claim.node) claims block \(claim.cidr), which does not exist",
                    repair: .deleteClaim(claim))
            }
            guard block.owner == claim.owner else {
                return Finding(
                    kind: .claimOfAnothersBlock, object: object,
                    sentence:
                        "\(claim.node) claims block \(claim.cidr), which is \(block.owner.map { "\($0.name)'s" } ?? "nobody's")",
                    repair: .deleteClaim(claim))
            }
            guard claim.state != .confirmed else { return nil }
            var confirmed = claim
            confirmed.state = .confirmed
            return Finding(
                kind: .unconfirmedClaim, object: object,
                sentence: "the claim of \(claim.node) to its block \(claim.cidr) is \(claim.state.rawValue)",
                repair: .writeClaim(confirmed))
        }
    }

    // MARK: Handles

    private static func handles(_ world: IPAMWorld) -> [Finding] {
        var held: [String: [String: Int]] = [:]
        for block in world.snapshot.blocks.values {
            for (_, attribute) in block.assignments {
                if let handle = attribute.handleID { held[handle, default: [:]]["\(block.cidr)", default: 0] += 1 }
            }
        }
        var findings: [Finding] = []
        for handle in world.handles.sorted(by: { $0.handleID < $1.handleID }) {
            let object = "IPAMHandle \(handle.object.name)"
            guard let actual = held.removeValue(forKey: handle.handleID) else {
                findings.append(
                    Finding(
                        kind: .strayHandle, object: object,
                        sentence: "handle \(handle.handleID) has no address in any block",
                        repair: .deleteHandle(handle)))
                continue
            }
            if actual != handle.blocks {
                findings.append(
                    Finding(
                        kind: .wrongHandleCount, object: object,
                        sentence:
                            "handle \(handle.handleID) counts \(words(handle.blocks)), and the blocks have \(words(actual)) of it",
                        repair: .writeHandle(handle.counting(actual))))
            }
        }
        for (handleID, actual) in held.sorted(by: { $0.key < $1.key })
        where handleID != AddressCollection.windowsReserved {
            findings.append(
                Finding(
                    kind: .missingHandle, object: "IPAMHandle \(IPAMNames.handle(handleID))",
                    sentence: "\(words(actual)) are held by handle \(handleID), which does not exist",
                    repair: .writeHandle(IPAMHandle(handleID: handleID).counting(actual))))
        }
        return findings
    }

    private static func words(_ counts: [String: Int]) -> String {
        counts.sorted { $0.key < $1.key }.map { "\($0.value) of \($0.key)" }.joined(separator: ", ")
    }

    // MARK: Addresses

    private static func addresses(_ world: IPAMWorld) -> [Finding] {
        var findings: [Finding] = []
        for cidr in world.snapshot.blocks.networks {
            guard let block = world.snapshot.blocks[cidr] else { continue }
            for (address, attribute) in block.assignments {
                guard let leak = AddressCollection.leak(address, attribute, world), let handle = attribute.handleID
                else { continue }
                findings.append(
                    Finding(
                        kind: .leakedAddress, object: "IPAMBlock \(block.name)",
                        sentence: "\(address) (handle \(handle)) is leaked: \(leak.reason)",
                        repair: .release(handleID: handle, addresses: [address])))
            }
        }
        var users: [IPAddress: ObjectKey] = [:]
        for pod in world.pods.values.sorted(by: { $0.key < $1.key }) where !pod.isFinished && !pod.isHostNetwork {
            for address in pod.addresses {
                if let other = users.updateValue(pod.key, forKey: address) {
                    findings.append(
                        Finding(
                            kind: .sharedAddress, object: "Pod \(pod.key)",
                            sentence: "\(address) is the address of pod \(other) and of pod \(pod.key)",
                            repair: .byHand("kubectl delete pod -n \(pod.key.namespace ?? "") \(pod.key.name)")))
                }
                guard world.snapshot.pools.contains(where: { $0.cidr.contains(address) }) else {
                    findings.append(
                        Finding(
                            kind: .addressOutsidePools, object: "Pod \(pod.key)",
                            sentence: "\(address) of pod \(pod.key) is in no pool",
                            repair: .byHand("recreate the pod")))
                    continue
                }
                let block = world.snapshot.blocks.block(containing: address)
                let attribute = block.flatMap { block in block.ordinal(of: address).flatMap { block.attribute(of: $0) }
                }
                if attribute == nil || attribute?.isReleased == true, let node = pod.node {
                    findings.append(
                        Finding(
                            kind: .unallocatedAddress, object: "Pod \(pod.key)",
                            sentence: "pod \(pod.key) uses \(address), which is free in IPAM: another pod may get it",
                            repair: .assign(address, pod: pod.key, node: node)))
                }
            }
        }
        return findings
    }
}

extension IPAMHandle {
    /// The handle with these counts.
    func counting(_ counts: [String: Int]) -> IPAMHandle {
        var handle = IPAMHandle(handleID: handleID)
        for (text, count) in counts { if let cidr = CIDR(text) { handle.increment(cidr, by: count) } }
        handle.object = object
        return handle
    }
}

extension IPAMBlock {
    /// The block with those ordinals free that are neither in use nor listed as free; nil when there are none.
    var withoutLostAddresses: IPAMBlock? {
        let known = Set(unallocated)
        let lost = allocations.indices.filter { allocations[$0] == nil && !known.contains($0) }
        guard !lost.isEmpty else { return nil }
        var block = self
        block.unallocated += lost
        return block
    }
}
