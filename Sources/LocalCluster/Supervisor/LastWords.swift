// SPDX-License-Identifier: Apache-2.0

import Linux

/// What a process said before it ended, for a message of whoever started it.
enum LastWords {
    /// Of the end of a log: the last line in which catbird says why it exits, with what it says to do next; else the last line there is.
    static func of(_ path: String) -> String {
        let lines = tail(path).split(separator: "\n")
        guard let last = lines.last else { return "(none)" }
        guard let start = lines.lastIndex(where: { $0.contains("Exiting: ") }), lines.count - start < 8,
            let mark = lines[start].firstRange(of: "Exiting: ")
        else { return String(last) }
        return ([lines[start][mark.upperBound...]] + lines[(start + 1)...]).joined(separator: "\n")
    }

    /// Logs grow; no more than their last part is read.
    private static func tail(_ path: String, limit: Int = 16384) -> String {
        guard let file = try? FileDescriptor.open(path), let size = try? file.seek(toEnd: limit), size > 0,
            let bytes = try? file.readToEnd(limit: limit * 2)
        else { return "" }
        return String(decoding: bytes, as: UTF8.self)
    }
}
