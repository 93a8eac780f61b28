// SPDX-License-Identifier: Apache-2.0

import PKI

/// Names contents by their digest.
enum Hashing {
    static func text(_ bytes: [UInt8]) -> String { SHA256Hex.digest(bytes).uppercased() }
}
