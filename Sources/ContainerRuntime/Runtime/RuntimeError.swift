// SPDX-License-Identifier: Apache-2.0

/// Why the runtime could not do what it was asked to.
public struct RuntimeError: Error, Sendable, CustomStringConvertible {
    /// The kinds that callers tell apart.
    public enum Kind: String, Sendable, Hashable {
        /// No sandbox or container of that id.
        case notFound
        /// The container is not in a state that allows the request.
        case wrongState
        /// The request itself cannot be met: a user that does not exist, a relative working directory, ….
        case invalid
        /// crun or conmon is not installed, or is refused.
        case missingTool
        /// A CNI plugin refused or failed.
        case network
        /// The command cannot be started: not in the image, not executable.
        case cannotStart
        case other
    }

    public let kind: Kind
    public let message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }
}
