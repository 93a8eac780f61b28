// SPDX-License-Identifier: Apache-2.0

/// Columns set apart by three spaces, and at least five wide with them, as calicoctl's `get` prints them.
package struct TextTable {
    package let headings: [String]
    package var rows: [[String]]

    package init(headings: [String], rows: [[String]]) {
        self.headings = headings
        self.rows = rows
    }

    package var text: String {
        let widths = headings.indices.map { column in
            max(5, (([headings] + rows).map { $0[column].count }.max() ?? 0) + 3)
        }
        let lines = ([headings] + rows).map { row in
            row.indices.map { column in
                row[column] + String(repeating: " ", count: max(0, widths[column] - row[column].count))
            }.joined()
        }
        return lines.joined(separator: "\n") + "\n\n"
    }
}

/// A table with a frame of plus and minus signs, headings centred, as `ipam show` and `node status` print it.
package struct FramedTable {
    package let headings: [String]
    package var rows: [[String]] = []

    package init(_ headings: String...) { self.headings = headings }

    package var text: String {
        let widths = headings.indices.map { column in ([headings] + rows).map { $0[column].count }.max() ?? 0 }
        let rule = "+" + widths.map { String(repeating: "-", count: $0 + 2) }.joined(separator: "+") + "+"
        func spaces(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }
        let head = headings.indices.map { column -> String in
            let space = widths[column] - headings[column].count
            return " \(spaces(space / 2))\(headings[column])\(spaces(space - space / 2)) "
        }
        let body = rows.map { row in
            "|"
                + row.indices.map { column -> String in
                    let space = widths[column] - row[column].count
                    let isNumber =
                        !row[column].isEmpty && row[column].allSatisfy { $0.isNumber || $0 == "." }
                        && row[column].count { $0 == "." } < 2
                    return isNumber ? " \(spaces(space))\(row[column]) " : " \(row[column])\(spaces(space)) "
                }.joined(separator: "|") + "|"
        }
        return ([rule, "|" + head.joined(separator: "|") + "|", rule] + body + [rule]).joined(separator: "\n") + "\n"
    }
}

extension String {
    package var trimmingNewlines: String {
        var text = Substring(self)
        while text.last == "\n" { text.removeLast() }
        return String(text)
    }
}
