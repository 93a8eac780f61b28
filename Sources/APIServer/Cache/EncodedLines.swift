// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The encoded forms of one event, made when first asked for and shared by all watchers.
final class EncodedLines: Sendable {
    struct Key: Hashable {
        let type: String
        let header: ObjectHeader
    }

    private let lines = Mutex<[Key: [UInt8]]>([:])

    func line(_ key: Key, _ make: () -> [UInt8]) -> [UInt8] {
        if let line = lines.withLock({ $0[key] }) { return line }
        let line = make()
        lines.withLock { $0[key] = line }
        return line
    }
}
