// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import NetworkModel
import Values

/// What has to be so whenever nothing is under way and the garbage is collected.
enum Invariants {
    static func violations(_ store: MemoryStore, _ sandboxes: some Sequence<Truth.Sandbox>) -> [String] {
        violations(
            blocks: store.all(.ipamBlocks), claims: store.all(.blockAffinities), handles: store.all(.ipamHandles),
            sandboxes)
    }

    static func violations(
        blocks stored: [KubeObject], claims: [KubeObject], handles: [KubeObject],
        _ sandboxes: some Sequence<Truth.Sandbox>
    ) -> [String] {
        var found: [String] = []
        var holders: [IPAddress: String] = [:]
        var held: [String: [String: Int]] = [:]
        var blocks: [CIDR: IPAMBlock] = [:]
        for object in stored {
            guard let block = try? IPAMBlock(object) else {
                found.append("block \(object.name) cannot be read")
                continue
            }
            if let other = blocks.keys.first(where: { $0.overlaps(block.cidr) }) {
                found.append("overlap: blocks \(other) and \(block.cidr)")
            }
            blocks[block.cidr] = block
            if block.isDeleted { found.append("half deleted: block \(block.cidr)") }
            if UInt128(block.usedCount + block.freeCount) != block.cidr.count {
                found.append("lost: \(block.cidr) has \(block.usedCount) used and \(block.freeCount) free addresses")
            }
            for (address, attribute) in block.assignments where !attribute.isReleased {
                let handleID = attribute.handleID ?? "nobody"
                held[handleID, default: [:]]["\(block.cidr)", default: 0] += 1
                if let other = holders.updateValue(handleID, forKey: address) {
                    found.append("doubled: \(address) is \(other)'s and \(handleID)'s")
                }
            }
        }
        for sandbox in sandboxes {
            for address in sandbox.addresses where sandbox.phase == .live && holders[address] != sandbox.handleID {
                found.append("lost: \(address) of \(sandbox.handleID) is \(holders[address] ?? "free")")
            }
        }
        let live = Dictionary(grouping: sandboxes, by: \.handleID)
        for (address, handleID) in holders.sorted(by: { $0.key < $1.key }) {
            if live[handleID]?.contains(where: { $0.phase == .live && $0.addresses.contains(address) }) != true {
                found.append("leaked: \(address) of \(handleID)")
            }
        }
        let handles = handles.map { IPAMHandle($0) }
        for handle in handles where held[handle.handleID] != handle.blocks {
            found.append("handle \(handle.handleID) counts \(handle.blocks), blocks \(held[handle.handleID] ?? [:])")
        }
        for handleID in held.keys.sorted() where !handles.contains(where: { $0.handleID == handleID }) {
            found.append("handle \(handleID) is missing")
        }
        let claims = claims.compactMap { try? BlockAffinity($0) }
        for claim in claims where blocks[claim.cidr]?.owner != claim.owner {
            found.append("claim \(claim.name) is to a block of \(blocks[claim.cidr]?.affinity ?? "nobody")")
        }
        for block in blocks.values where block.owner != nil {
            let owners = claims.filter { $0.cidr == block.cidr }.map(\.owner)
            if owners != [block.owner] {
                found.append("block \(block.cidr) of \(block.affinity ?? "") has claims of \(owners)")
            }
        }
        return found
    }
}
