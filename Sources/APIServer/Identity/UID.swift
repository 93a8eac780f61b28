// SPDX-License-Identifier: Apache-2.0

/// Random identifiers (RFC 4122, version 4), and the suffixes of generated names.
enum UID {
    static func make() -> String {
        // Two draws, not sixteen: each is a call of the kernel.
        let high = UInt64.random(in: .min ... .max) & ~0xF000 | 0x4000
        let low = UInt64.random(in: .min ... .max) & ~(0b11 << 62) | 0b10 << 62
        return String(unsafeUninitializedCapacity: 36) { text in
            var place = 0
            for position in 0..<32 {
                if (8...20).contains(position), position % 4 == 0 {
                    text[place] = UInt8(ascii: "-")
                    place += 1
                }
                let digit = UInt8(truncatingIfNeeded: (position < 16 ? high : low) >> (60 - position % 16 * 4)) & 0xF
                text[place] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit
                place += 1
            }
            return place
        }
    }

    private static let alphabet = Array("bcdfghjklmnpqrstvwxz2456789")

    /// Five characters without vowels or look-alikes, as Kubernetes draws them.
    static func suffix() -> String {
        String((0..<5).map { _ in alphabet[Int.random(in: alphabet.indices)] })
    }

    /// Kubernetes cuts the base so that the whole fits a label.
    static func name(from base: String) -> String { String(base.prefix(58)) + suffix() }
}
