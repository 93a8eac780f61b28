// SPDX-License-Identifier: Apache-2.0

/// Texts of others, as parts of a message.
package enum DoctorText {
    /// A text that fits a message.
    package static func shortened(_ text: String, to limit: Int = 300) -> String {
        text.count <= limit ? text : text.prefix(limit) + "…"
    }

    /// The lines of a log in one line.
    package static func oneLine(_ text: String) -> String {
        shortened(text.split(whereSeparator: \.isNewline).map { String($0).trimmed }.joined(separator: " | "))
    }
}
