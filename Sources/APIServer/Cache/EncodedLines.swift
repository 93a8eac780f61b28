// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The encoded forms of one event, made when first asked for and shared by all watchers.
final class EncodedLines: Sendable {
    /// What watchers of one kind have in common: the version, whether they are sent metadata alone, and the encoding.
    struct Content: Equatable {
        let header: ObjectHeader
        let isPartial: Bool
        let encoding: OutputEncoding
    }

    struct Key: Equatable {
        let type: String
        let content: Content
    }

    /// A few at most: to compare them is quicker than to hash what they are known by.
    private let lines = Mutex<[(key: Key, line: [UInt8])]?>([])

    func line(_ key: Key, _ make: () -> [UInt8]) -> [UInt8] {
        lines.withLock { lines in
            if let found = lines?.first(where: { $0.key == key }) { return found.line }
            let line = make()
            lines?.append((key, line))
            return line
        }
    }

    /// Keeps nothing from now on: few still ask, and each gets a line of his own.
    func forget() { lines.withLock { $0 = nil } }
}
