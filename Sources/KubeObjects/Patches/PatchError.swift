// SPDX-License-Identifier: Apache-2.0

/// Why a patch cannot be applied.
public struct PatchError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: Sendable, Hashable {
        /// The patch is malformed: 400.
        case malformed
        /// It is well formed but does not fit the object: 422.
        case doesNotApply
        /// It has more operations than are done at once: 413.
        case tooLarge
    }

    public let kind: Kind
    public let description: String

    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// The answer of the API.
    public var status: StatusError {
        switch kind {
        case .malformed: .badRequest(description)
        case .doesNotApply:
            StatusError(
                422, "Invalid", "the server rejected our request due to an error in our request: \(description)")
        case .tooLarge: .tooLarge(description)
        }
    }
}
