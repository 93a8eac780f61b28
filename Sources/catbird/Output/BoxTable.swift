// SPDX-License-Identifier: Apache-2.0

/// A table with a frame, as minikube prints its lists.
struct BoxTable {
    let headings: [String]
    var rows: [[String]] = []

    init(_ headings: String...) { self.headings = headings }

    var text: String {
        let lines = unicode
        guard !Terminal.showsMarks else { return lines }
        // Where the terminal has ASCII alone.
        return String(
            lines.map { character in
                switch character {
                case "─": "-"
                case "│": "|"
                case "┌", "┬", "┐", "├", "┼", "┤", "└", "┴", "┘": "+"
                default: character
                }
            })
    }

    private var unicode: String {
        let widths = headings.indices.map { column in
            ([headings] + rows).map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        func rule(_ left: String, _ middle: String, _ right: String) -> String {
            left + widths.map { String(repeating: "─", count: $0 + 2) }.joined(separator: middle) + right
        }
        func line(_ cells: [String], centered: Bool) -> String {
            let padded = widths.indices.map { column -> String in
                let cell = column < cells.count ? cells[column] : ""
                let space = widths[column] - cell.count
                let before = centered ? space / 2 : 0
                return String(repeating: " ", count: before + 1) + cell
                    + String(repeating: " ", count: space - before + 1)
            }
            return "│" + padded.joined(separator: "│") + "│"
        }
        var lines = [rule("┌", "┬", "┐"), line(headings, centered: true), rule("├", "┼", "┤")]
        lines += rows.map { line($0, centered: false) }
        lines.append(rule("└", "┴", "┘"))
        return lines.joined(separator: "\n")
    }
}
