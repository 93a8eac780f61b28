// SPDX-License-Identifier: Apache-2.0

import Values

/// Random identifiers (RFC 4122, version 4), and the suffixes of generated names.
enum UID {
    static func make() -> String {
        var bytes = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        let hex = Array(Hex.text(bytes))
        return [hex[0..<8], hex[8..<12], hex[12..<16], hex[16..<20], hex[20..<32]].map { String($0) }
            .joined(separator: "-")
    }

    private static let alphabet = Array("bcdfghjklmnpqrstvwxz2456789")

    /// Five characters without vowels or look-alikes, as Kubernetes draws them.
    static func suffix() -> String {
        String((0..<5).map { _ in alphabet[Int.random(in: alphabet.indices)] })
    }

    /// Kubernetes cuts the base so that the whole fits a label.
    static func name(from base: String) -> String { String(base.prefix(58)) + suffix() }
}
