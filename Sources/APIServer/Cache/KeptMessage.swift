// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The protobuf encoding of a stored object, kept beside its bytes. All of them together take no more than
/// `limit` bytes: what comes when they are used up is made anew each time it is asked for.
final class KeptMessage: Sendable {
    static let limit = 64 << 20
    private static let used = Atomic(0)

    /// The message's name, and its bytes without the envelope.
    let name: String
    let bytes: [UInt8]

    /// Nil when there is no room left.
    init?(_ name: String, _ bytes: [UInt8]) {
        let size = bytes.count
        let (_, now) = Self.used.add(size, ordering: .relaxed)
        guard now <= Self.limit else {
            Self.used.subtract(size, ordering: .relaxed)
            return nil
        }
        self.name = name
        self.bytes = bytes
    }

    deinit { Self.used.subtract(bytes.count, ordering: .relaxed) }
}
