// SPDX-License-Identifier: Apache-2.0

import NetworkModel
import Values

extension AddressPicture {
    private static let cell = 46
    private static let perRow = 16

    /// A drawing that stands alone: a row of squares a pool, filled from below as the block fills, a colour a node.
    var svg: String {
        let margin = 20
        var y = margin
        var body: [String] = []
        func text(_ x: Int, _ y: Int, _ words: String, _ style: String = "") {
            body.append("<text x=\"\(x)\" y=\"\(y)\"\(style)>\(Self.escaped(words))</text>")
        }
        func squares(_ blocks: [Block]) {
            for (index, block) in blocks.enumerated() {
                let x = margin + index % Self.perRow * (Self.cell + 4)
                let top = y + index / Self.perRow * (Self.cell + 18)
                let full = block.used * Self.cell / max(1, block.size)
                let height = block.used > 0 ? max(1, full) : 0
                let lent = block.lent.sorted { $0.key < $1.key }.map { ", \($0.value) lent to \($0.key)" }.joined()
                let title = "\(block.cidr) of \(block.owner ?? "nobody"): \(block.used) of \(block.size) in use\(lent)"
                body.append(
                    """
                    <g><title>\(Self.escaped(title))</title>\
                    <rect x="\(x)" y="\(top)" width="\(Self.cell)" height="\(Self.cell)" fill="#f4f4f4" \
                    stroke="\(colour(block.owner))" stroke-width="2"\(block.lent.isEmpty ? "" : " stroke-dasharray=\"4 2\"")/>\
                    <rect x="\(x)" y="\(top + Self.cell - height)" width="\(Self.cell)" height="\(height)" \
                    fill="\(colour(block.owner))"/>\
                    <text x="\(x)" y="\(top + Self.cell + 11)" class="small">\(Self.escaped(Self.short(block.cidr)))</text></g>
                    """)
            }
            let rows = (blocks.count + Self.perRow - 1) / Self.perRow
            y += rows * (Self.cell + 18) + 16
        }
        for pool in pools {
            text(margin, y + 14, pool.pool.label + (pool.pool.isDisabled ? ", disabled" : ""), " class=\"name\"")
            text(
                margin, y + 30,
                "\(pool.used) of \(pool.pool.cidr.count) addresses, \(pool.blocks.count) of \(pool.pool.blockCount) blocks; \(pool.pool.nodeSelector) selects \(pool.nodes) nodes",
                " class=\"small\"")
            y += 40
            squares(pool.ordered)
        }
        if !strays.isEmpty {
            text(margin, y + 14, "In no pool", " class=\"name\"")
            y += 24
            squares(strays)
        }
        for owner in owners {
            body.append(
                "<rect x=\"\(margin)\" y=\"\(y)\" width=\"12\" height=\"12\" fill=\"\(colour(owner))\"/>")
            text(margin + 18, y + 11, owner)
            y += 18
        }
        let width = margin * 2 + Self.perRow * (Self.cell + 4)
        return """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(y + margin)" viewBox="0 0 \(width) \(y + margin)">
            <style>text{font:13px sans-serif;fill:#222}.name{font-weight:bold}.small{font-size:9px;fill:#555}</style>
            <rect width="100%" height="100%" fill="white"/>
            \(body.joined(separator: "\n"))
            </svg>

            """
    }

    /// Hues a golden angle apart: neighbours in the list never look alike.
    private func colour(_ owner: String?) -> String {
        guard let owner, let index = owners.firstIndex(of: owner) else { return "#999999" }
        return "hsl(\(index * 137 % 360),55%,45%)"
    }

    private static func short(_ cidr: CIDR) -> String {
        let text = "\(cidr)"
        return cidr.family == .v4 ? text.split(separator: ".").suffix(2).joined(separator: ".") : String(text.suffix(9))
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
        return result
    }
}
