// SPDX-License-Identifier: Apache-2.0

import NetworkModel
import Values

/// Pools, their blocks and whose they are: drawn for a terminal, as SVG, or told as JSON.
struct AddressPicture: Sendable {
    struct Block: Sendable {
        let cidr: CIDR
        /// The node, or virtual owner, that the block belongs to.
        let owner: String?
        let used: Int
        let size: Int
        /// Addresses that pods of other nodes have, by node.
        let lent: [String: Int]
    }

    struct Pool: Sendable {
        let pool: IPPool
        let blocks: [Block]
        let nodes: Int

        var used: Int { blocks.reduce(0) { $0 + $1.used } }

        /// `node-a` first, then by network.
        var ordered: [Block] {
            blocks.sorted { ($0.owner ?? "~", $0.cidr) < ($1.owner ?? "~", $1.cidr) }
        }
    }

    let pools: [Pool]
    /// Blocks that lie in no pool.
    let strays: [Block]
    /// Owners of blocks, by name.
    let owners: [String]

    init(_ world: IPAMWorld) {
        let table = world.snapshot.blocks
        let blocks: [Block] = table.keys.sorted().compactMap { cidr in table[cidr].map(Self.block) }
        let ordered = world.snapshot.pools.sorted { ($0.cidr, $0.name) < ($1.cidr, $1.name) }
        pools = ordered.map { pool in
            Pool(
                pool: pool, blocks: blocks.filter { pool.cidr.contains($0.cidr) },
                nodes: world.snapshot.nodes.values.count { pool.selects($0) })
        }
        strays = blocks.filter { block in !ordered.contains { $0.cidr.contains(block.cidr) } }
        owners = Set(blocks.compactMap(\.owner)).sorted()
    }

    private static func block(_ block: IPAMBlock) -> Block {
        var lent: [String: Int] = [:]
        for (_, attribute) in block.assignments {
            if let node = attribute.values["node"], node != block.owner?.name { lent[node, default: 0] += 1 }
        }
        return Block(
            cidr: block.cidr, owner: block.owner?.name, used: block.usedCount, size: block.allocations.count, lent: lent
        )
    }

    private static let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    private static let mapWidth: UInt128 = 64

    private func letter(_ owner: String?) -> Character {
        guard let owner else { return "?" }
        guard let index = owners.firstIndex(of: owner), index < Self.letters.count else { return "+" }
        return Self.letters[index]
    }

    /// One cell a block, or a run of blocks for a large pool: the owner's letter, `.` where there is no block, `+`
    /// where several owners meet.
    private func map(_ pool: Pool) -> String {
        let count = pool.pool.blockCount
        let perCell = max(1, (count + Self.mapWidth - 1) / Self.mapWidth)
        var cells = [Character](repeating: ".", count: Int((count + perCell - 1) / perCell))
        let width = UInt128(pool.pool.cidr.family.bitWidth - pool.pool.blockSize)
        for block in pool.blocks {
            let place = Int(((block.cidr.first.bits - pool.pool.cidr.first.bits) >> width) / perCell)
            guard cells.indices.contains(place) else { continue }
            let own = letter(block.owner)
            cells[place] = cells[place] == "." || cells[place] == own ? own : "+"
        }
        let scale = perCell > 1 ? "  (\(perCell) blocks a letter)" : ""
        return "[\(String(cells))]\(scale)"
    }

    // MARK: Terminal

    func text(showsBlocks: Bool) -> String {
        var lines: [String] = []
        for pool in pools {
            let value = pool.pool
            lines.append("\(value.label)\(value.isDisabled ? ", disabled" : "")")
            lines.append(
                "  \(pool.used) of \(value.cidr.count) addresses in use, \(pool.blocks.count) of \(value.blockCount) blocks of /\(value.blockSize) claimed; nodeSelector \(value.nodeSelector) selects \(pool.nodes) of the nodes"
            )
            lines.append("  \(map(pool))")
            lines += rows(pool.ordered, showsBlocks)
            lines.append("")
        }
        if !strays.isEmpty {
            lines.append("In no pool")
            lines += rows(strays, showsBlocks)
            lines.append("")
        }
        if pools.isEmpty { lines.append("There is no pool: pods get no address. See calicoctl create -f POOL.yaml") }
        return lines.joined(separator: "\n") + "\n"
    }

    private func rows(_ blocks: [Block], _ showsBlocks: Bool) -> [String] {
        let nameWidth = blocks.map { ($0.owner ?? "no owner").count }.max() ?? 0
        let cidrWidth = blocks.map { "\($0.cidr)".count }.max() ?? 0
        return blocks.map { block in
            let name = Self.padded(block.owner ?? "no owner", nameWidth)
            let bar = Self.bar(block, showsBlocks)
            let lent = block.lent.sorted { $0.key < $1.key }.map { "\($0.value) lent to \($0.key)" }
            return
                "  \(letter(block.owner)) \(name)  \(Self.padded("\(block.cidr)", cidrWidth))  \(bar)  \(([ "\(block.used) of \(block.size)" ] + lent).joined(separator: ", "))"
        }
    }

    private static func bar(_ block: Block, _ showsBlocks: Bool) -> String {
        let width = 32
        let full = block.used == 0 ? 0 : max(1, block.used * width / max(1, block.size))
        return String(repeating: showsBlocks ? "█" : "#", count: full)
            + String(repeating: showsBlocks ? "░" : "-", count: width - full)
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    // MARK: JSON

    var json: JSON {
        [
            "pools": .array(
                pools.map { pool in
                    [
                        "name": JSON(pool.pool.name), "cidr": JSON("\(pool.pool.cidr)"),
                        "blockSize": JSON(pool.pool.blockSize), "disabled": JSON(pool.pool.isDisabled),
                        "addresses": JSON("\(pool.pool.cidr.count)"), "addressesInUse": JSON(pool.used),
                        "blocks": JSON("\(pool.pool.blockCount)"), "blocksClaimed": JSON(pool.blocks.count),
                        "nodeSelector": JSON("\(pool.pool.nodeSelector)"), "nodesSelected": JSON(pool.nodes),
                        "claimed": .array(pool.ordered.map(Self.json)),
                    ]
                }), "blocksInNoPool": .array(strays.map(Self.json)),
        ]
    }

    private static func json(_ block: Block) -> JSON {
        var lent: JSON = [:]
        for (node, count) in block.lent.sorted(by: { $0.key < $1.key }) { lent[node] = JSON(count) }
        return [
            "cidr": JSON("\(block.cidr)"), "owner": block.owner.map { JSON($0) } ?? .null,
            "addresses": JSON(block.size), "addressesInUse": JSON(block.used), "lent": lent,
        ]
    }
}
