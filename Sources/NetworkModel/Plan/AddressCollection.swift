// SPDX-License-Identifier: Apache-2.0

import KubeObjects
public import Values

/// What nobody uses any more: addresses, blocks, claims and handles. Decisions only; each is checked again before it
/// is carried out, and each says why.
public enum AddressCollection {
    /// Addresses of one handle, all of which are leaked.
    public struct Release: Sendable, Hashable {
        public let handleID: String
        public let addresses: [IPAddress]
        public let reason: String
        /// The node that held them, as the attributes say.
        public let node: String?
        /// The node is gone: nothing can use the addresses, and no grace was needed.
        public let isCertain: Bool
    }

    /// A claim to give up, with its block if that is empty and there.
    public struct ClaimRelease: Sendable, Hashable {
        public let claim: BlockAffinity
        /// The block is deleted when it is empty, else it stays as nobody's; nil when it is not the claim's.
        public let block: CIDR?
        public let reason: String
    }

    public struct HandleRemoval: Sendable, Hashable {
        public let handle: IPAMHandle
        public let reason: String
    }

    public struct Outcome: Sendable {
        public internal(set) var releases: [Release] = []
        public internal(set) var claims: [ClaimRelease] = []
        public internal(set) var handles: [HandleRemoval] = []
        /// Blocks that nobody owns and nobody uses.
        public internal(set) var obsoleteBlocks: [CIDR] = []
        /// Blocks with addresses whose cooldown is over, to be written as they then are.
        public internal(set) var swept: [IPAMBlock] = []
        /// Since when each suspect has been one, to be handed in with the next look.
        public internal(set) var seen: [String: Timestamp] = [:]
        /// Seconds until a suspect's grace is over; nil when there is nothing to wait for.
        public internal(set) var nextLook: Double?
        /// Nothing was decided, and why.
        public internal(set) var skipped: String?
    }

    /// Addresses released in one pass, so that a pass ends.
    public static let passLimit = 10_000
    /// A handle is written before its block: one without addresses may be on its way.
    public static let minimumHandleGrace = 60.0
    static let windowsReserved = "windows-reserved-ipam-handle"

    /// - Parameters:
    ///   - grace: seconds that something must look leaked before it is collected; 0 switches collecting off but for
    ///     what belongs to nodes that are gone.
    ///   - seen: `seen` of the look before.
    public static func decide(
        _ world: IPAMWorld, now: Timestamp, grace: Double, seen: [String: Timestamp] = [:]
    ) -> Outcome {
        var outcome = Outcome()
        if world.isLocked {
            outcome.skipped = "the datastore is locked (ClusterInformation default: datastoreReady is false)"
            outcome.seen = seen
            return outcome
        }
        var look = Look(world: world, now: now, grace: grace, before: seen)
        look.judgeAddresses(&outcome)
        look.judgeClaims(&outcome)
        look.judgeHandles(&outcome)
        outcome.seen = look.seen
        outcome.nextLook = look.nextLook
        return outcome
    }

    /// Why an address is leaked: nil while it is, or may be, in use.
    public static func leak(
        _ address: IPAddress, _ attribute: IPAMBlock.Attribute, _ world: IPAMWorld
    ) -> (reason: String, isCertain: Bool)? {
        guard let handle = attribute.handleID, handle != windowsReserved else { return nil }
        let node = attribute.values["node"]
        let isNodeGone = node.map { world.snapshot.nodes[$0] == nil } ?? false
        guard let name = attribute.values["pod"], let namespace = attribute.values["namespace"] else {
            // A tunnel's address lives as long as its node; what somebody else asked for is not ours to judge.
            guard attribute.values["type"] != nil, isNodeGone, let node else { return nil }
            return ("node \(node), whose \(attribute.values["type"] ?? "address") it was, is gone", true)
        }
        let key = ObjectKey(namespace, name)
        guard let pod = world.pods[key] else {
            let more = isNodeGone ? ", as is its node \(node ?? "")" : ""
            return ("pod \(key) is gone\(more)", isNodeGone)
        }
        if let node, let current = pod.node, current != node {
            return ("pod \(key) is on node \(current), and the address was given to it on \(node)", isNodeGone)
        }
        if isNodeGone, let node { return ("node \(node) of pod \(key) is gone", true) }
        if pod.isEvicted { return ("pod \(key) was evicted", false) }
        if pod.isFinished { return ("pod \(key) has finished", false) }
        // Not reported yet: its sandbox is being made.
        if pod.addresses.isEmpty { return nil }
        if pod.addresses.contains(address) || pod.otherAddresses.contains(address) { return nil }
        let has = pod.addresses.map { "\($0)" }.joined(separator: ", ")
        return ("pod \(key) has \(has) instead", false)
    }

    private struct Look {
        let world: IPAMWorld
        let now: Timestamp
        let grace: Double
        let before: [String: Timestamp]
        var seen: [String: Timestamp] = [:]
        var nextLook: Double?
        /// How many addresses each handle has in each block.
        var held: [String: [String: Int]] = [:]
        /// Nodes that are gone, and hold addresses that are still in use or not ours to judge.
        var busyGoneNodes: Set<String> = []

        /// Whether the suspect has been one for long enough.
        mutating func isDue(_ suspect: String, grace: Double) -> Bool {
            let since = before[suspect] ?? now
            seen[suspect] = since
            // A clock that jumped back starts the grace anew.
            let age = now.seconds(since: since)
            if age < 0 { seen[suspect] = now }
            if age >= grace, grace >= 0 { return true }
            nextLook = min(nextLook ?? grace, grace - max(0, age))
            return false
        }

        mutating func judgeAddresses(_ outcome: inout Outcome) {
            var leaks: [String: (addresses: [IPAddress], reason: String, node: String?, isCertain: Bool)] = [:]
            var used: Set<String> = []
            for block in world.snapshot.blocks.values {
                var swept = block
                if swept.freeReleased(now: now, cooldown: world.snapshot.config.cooldownSeconds) > 0 {
                    outcome.swept.append(swept)
                }
                for (address, attribute) in block.assignments {
                    guard let handle = attribute.handleID else {
                        if !attribute.isReleased, let node = attribute.values["node"] { busyGoneNodes.insert(node) }
                        continue
                    }
                    held[handle, default: [:]]["\(block.cidr)", default: 0] += 1
                    if let leak = AddressCollection.leak(address, attribute, world) {
                        let known = leaks[handle]
                        leaks[handle] = (
                            (known?.addresses ?? []) + [address], leak.reason, attribute.values["node"],
                            leak.isCertain && known?.isCertain ?? true
                        )
                    } else {
                        used.insert(handle)
                        if let node = attribute.values["node"] { busyGoneNodes.insert(node) }
                    }
                }
            }
            var count = 0
            for (handle, leak) in leaks.sorted(by: { $0.key < $1.key }) where !used.contains(handle) {
                guard leak.isCertain || (grace > 0 && isDue("handle \(handle)", grace: grace)) else { continue }
                guard count < AddressCollection.passLimit else {
                    nextLook = 0
                    break
                }
                count += leak.addresses.count
                outcome.releases.append(
                    Release(
                        handleID: handle, addresses: leak.addresses.sorted(), reason: leak.reason, node: leak.node,
                        isCertain: leak.isCertain))
            }
            outcome.swept.sort { $0.cidr < $1.cidr }
        }

        mutating func judgeClaims(_ outcome: inout Outcome) {
            // What is released in this pass frees the claims of nodes that are gone in the same pass.
            let releasing = Set(outcome.releases.map(\.handleID))
            func isEmpty(_ block: IPAMBlock) -> Bool {
                block.assignments.allSatisfy {
                    $0.attribute.handleID.map(releasing.contains) ?? $0.attribute.isReleased
                }
            }
            var kept: [AffinityOwner: Int] = [:]
            for claim in world.snapshot.affinities {
                if world.snapshot.blocks[claim.cidr]?.owner == claim.owner { kept[claim.owner, default: 0] += 1 }
            }
            for claim in world.snapshot.affinities.sorted(by: { $0.name < $1.name }) {
                guard let node = claim.owner.node else { continue }
                let block = world.snapshot.blocks[claim.cidr].flatMap { $0.owner == claim.owner ? $0 : nil }
                if world.snapshot.nodes[node] == nil {
                    guard !busyGoneNodes.contains(node) || block.map(isEmpty) ?? true else { continue }
                    outcome.claims.append(
                        ClaimRelease(claim: claim, block: block?.cidr, reason: "node \(node) is gone"))
                    continue
                }
                guard let block else {
                    let other = world.snapshot.blocks[claim.cidr].map { $0.owner?.name ?? "nobody" }
                    if grace > 0, isDue("claim \(claim.name)", grace: max(grace, AddressCollection.minimumHandleGrace))
                    {
                        let reason = other.map { "the block is \($0)'s" } ?? "there is no such block"
                        outcome.claims.append(ClaimRelease(claim: claim, block: nil, reason: reason))
                    }
                    continue
                }
                // The last block stays: the node's next pod would only claim it again.
                guard block.isEmpty, grace > 0, isDue("block \(block.cidr) of \(node)", grace: grace) else { continue }
                guard kept[claim.owner, default: 0] > 1 else { continue }
                kept[claim.owner, default: 0] -= 1
                outcome.claims.append(
                    ClaimRelease(
                        claim: claim, block: block.cidr,
                        reason: "the block has been empty for \(Int(grace)) s, and node \(node) has another"))
            }
            for block in world.snapshot.blocks.values where block.owner == nil && block.isEmpty {
                outcome.obsoleteBlocks.append(block.cidr)
            }
            outcome.obsoleteBlocks.sort()
        }

        mutating func judgeHandles(_ outcome: inout Outcome) {
            for handle in world.handles.sorted(by: { $0.handleID < $1.handleID }) where held[handle.handleID] == nil {
                let grace = max(grace, AddressCollection.minimumHandleGrace)
                // One that was written again since, or is another of the same name, is a new suspect.
                let suspect = "empty handle \(handle.handleID) \(handle.object.resourceVersion)"
                guard self.grace > 0, isDue(suspect, grace: grace) else { continue }
                outcome.handles.append(
                    HandleRemoval(handle: handle, reason: "no block has an address of handle \(handle.handleID)"))
            }
        }
    }
}
