// SPDX-License-Identifier: Apache-2.0

/// Why an image could not be had. The message names the image, the registry, the reason and the next step.
public struct ImageError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds that callers and users tell apart.
    public enum Kind: String, Sendable, Hashable {
        /// The reference is not one.
        case invalidName
        /// The registry, or the store, does not know the name or the tag.
        case notFound
        /// The registry wants credentials, or other ones.
        case unauthorized
        /// The registry does not answer: no address, no route, refused, TLS.
        case unreachable
        /// The image exists, but not for this machine's architecture.
        case wrongArchitecture
        /// Digests do not match, or an archive is damaged or malicious.
        case corrupt
        case noSpace
        case other
    }

    public let kind: Kind
    public let message: String
    /// The message without what to do next: for those who know better what that is.
    public let reason: String

    public init(_ kind: Kind, _ reason: String, next: String? = nil) {
        self.kind = kind
        self.reason = reason
        message = next.map { "\(reason): \($0)" } ?? reason
    }

    public var description: String { message }
}
