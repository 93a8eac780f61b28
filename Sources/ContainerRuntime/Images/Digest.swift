// SPDX-License-Identifier: Apache-2.0

import Crypto
import Values

/// `sha256:…`: the names of content.
enum Digest {
    static func isValid(_ text: String) -> Bool {
        guard text.hasPrefix("sha256:") else { return false }
        let digits = text.utf8.dropFirst(7)
        return digits.count == 64
            && digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    static func of(_ bytes: some Collection<UInt8>) -> String {
        var hash = SHA256()
        hash.update(data: ContiguousArray(bytes))
        return text(hash)
    }

    static func text(_ hash: SHA256) -> String { "sha256:" + Hex.text(hash.finalize()) }

    /// The digits without the algorithm.
    static func hex(_ digest: String) -> String { String(digest.dropFirst(7)) }
}
