// SPDX-License-Identifier: Apache-2.0

/// What went wrong with a local cluster, in a sentence for its user, and what to do about it.
public struct LocalClusterError: Error, Sendable, CustomStringConvertible {
    /// Exit codes in minikube's classes: tens name the part, units the kind of failure.
    public enum Code: Int32, Sendable {
        case usage = 14
        case insufficientStorage = 26
        case resourceInUse = 29
        case hostUnsupported = 36
        case hostPermission = 37
        case guestError = 80
        case guestTimeout = 82
        case guestNotFound = 85
        case guestNotRunning = 89
        case serviceNotFound = 115
    }

    public let code: Code
    public let message: String
    /// A command to type or a thing to change; nil where there is none.
    public let nextStep: String?

    public init(_ code: Code, _ message: String, nextStep: String? = nil) {
        self.code = code
        self.message = message
        self.nextStep = nextStep
    }

    public var description: String { nextStep.map { "\(message)\n  \($0)" } ?? message }
}
