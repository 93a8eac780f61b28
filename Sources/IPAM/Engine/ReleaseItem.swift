// SPDX-License-Identifier: Apache-2.0

public import Values

/// What is to be given back: an address, or all addresses of a handle.
public struct ReleaseItem: Sendable, Hashable {
    /// Nil for all addresses of the handle.
    public var address: IPAddress?
    /// Who has to hold the address; nil releases it whoever does.
    public var handleID: String?
    /// The block's sequence number when the address was given out; an address that was given out again since is left
    /// alone.
    public var sequence: Int64?

    public init(handleID: String) { self.handleID = handleID }

    public init(address: IPAddress, handleID: String? = nil, sequence: Int64? = nil) {
        self.address = address
        self.handleID = handleID
        self.sequence = sequence
    }
}

/// What became of a ``ReleaseItem``.
public enum ReleaseOutcome: Sendable, Hashable {
    /// These are free now; none when nothing was held.
    case released([IPAddress])
    /// Somebody else holds the address, or it was given out again since.
    case heldByAnother(handleID: String?)

    public var addresses: [IPAddress] { if case .released(let addresses) = self { addresses } else { [] } }
}
