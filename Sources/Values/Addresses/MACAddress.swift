// SPDX-License-Identifier: Apache-2.0

/// An EUI-48 link-layer address.
public struct MACAddress: Sendable, Hashable {
    public let bytes: [UInt8]

    /// Nil unless there are six bytes.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 6 else { return nil }
        self.bytes = Array(bytes)
    }
}

extension MACAddress: LosslessStringConvertible {
    /// Reads `ee:ee:ee:ee:ee:ee`.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { $0.utf8.count == 2 ? UInt8($0, radix: 16) : nil }
        guard parts.count == 6, bytes.count == 6 else { return nil }
        self.bytes = bytes
    }

    public var description: String { bytes.map { Hex.text([$0]) }.joined(separator: ":") }
}
