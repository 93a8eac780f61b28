// SPDX-License-Identifier: Apache-2.0

/// What `catbird start` was asked for.
public struct StartOptions: Sendable {
    public var profile: ProfileName
    /// Nil keeps what the profile has, or makes one.
    public var nodes: Int?
    public var racks: Int?
    public var builtinImages = true
    /// Goes back to the last backup first.
    public var restoresBackup = false
    /// Goes on with what is readable of a damaged log of writes.
    public var acceptsLoss = false
    /// How long nodes and names are waited for.
    public var limit: Duration = .seconds(360)
    /// Whether nodes and names are waited for at all, or the API alone.
    public var waits = true
    /// Whether kubectl's current context stays as it is.
    public var keepsContext = false
    /// The namespace of kubectl's new context.
    public var namespace = "default"
    /// Nil keeps what the profile has; the surroundings are those of this start.
    public var dockerEnvironment: [String: String]?
    public var insecureRegistries: [String]?
    public var surroundings: [String: String] = [:]

    public init(profile: ProfileName) { self.profile = profile }
}

/// One thing that was done on the way to a running cluster.
public struct StartStep: Sendable {
    public enum Mark: String, Sendable { case begin, node, network, names, note, warning, done }

    /// A word for scripts: `fabric`, `control-plane`, `nodes`, `network`, `dns`, `done`.
    public let name: String
    public let mark: Mark
    public let message: String
    /// Seconds since the start began.
    public let elapsed: Double

    public init(name: String, mark: Mark, message: String, elapsed: Double) {
        self.name = name
        self.mark = mark
        self.message = message
        self.elapsed = elapsed
    }
}
