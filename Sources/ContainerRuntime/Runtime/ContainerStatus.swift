// SPDX-License-Identifier: Apache-2.0

public import Values

/// A container as it is.
public struct ContainerStatus: Sendable, Hashable {
    public enum State: String, Sendable, Hashable {
        case created, running, exited
    }

    public var id: ContainerID
    public var name: String
    public var sandboxID: String
    public var attempt: Int
    public var state: State
    /// Of the container's first process, while it runs.
    public var pid: Int?
    /// Nil until it ended.
    public var exitCode: Int?
    /// The signal that ended it, when one did.
    public var signal: Int?
    public var oomKilled: Bool
    /// Why it never started or how it was lost; empty otherwise.
    public var message: String
    public var createdAt: Timestamp
    public var startedAt: Timestamp?
    public var finishedAt: Timestamp?
    /// The reference and the id of its image.
    public var image: String
    public var imageID: String
    public var logPath: String?
    /// Where on the node the termination message is, when one was asked for.
    public var terminationMessageFile: String?
    public var labels: [String: String]
    public var annotations: [String: String]
    /// The user it runs as.
    public var user: UserIdentity
    public var cgroupPath: String
}

/// Numbers of a user and its groups.
public struct UserIdentity: Sendable, Hashable {
    public var uid: Int
    public var gid: Int
    public var supplementalGroups: [Int]

    public init(uid: Int, gid: Int, supplementalGroups: [Int] = []) {
        self.uid = uid
        self.gid = gid
        self.supplementalGroups = supplementalGroups
    }
}

/// Something happened that nobody asked for just now.
public enum RuntimeEvent: Sendable, Hashable {
    /// The container ended; its exit code is in its status.
    case exited(ContainerID)
    /// A network configuration appeared, changed or went, or the plugins' agent listens again: ask `networkReady()` again.
    case networkChanged
}
