// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The encoded forms of one event, made when first asked for and shared by all watchers.
final class EncodedLines: Sendable {
    /// What watchers of one kind have in common: the version, whether they are sent metadata alone, and the encoding.
    struct Content: Hashable {
        let header: ObjectHeader
        let isPartial: Bool
        let encoding: OutputEncoding
    }

    struct Key: Hashable {
        let type: String
        let content: Content
    }

    private let lines = Mutex<[Key: [UInt8]]>([:])

    func line(_ key: Key, _ make: () -> [UInt8]) -> [UInt8] {
        if let line = lines.withLock({ $0[key] }) { return line }
        let line = make()
        lines.withLock { $0[key] = line }
        return line
    }
}
