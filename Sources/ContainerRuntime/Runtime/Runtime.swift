// SPDX-License-Identifier: Apache-2.0

/// Pods' sandboxes and containers on one node, over crun, conmon and CNI plugins.
///
/// All state is on disk: a new instance, after the process was killed, finds what runs and how the rest ended.
public final class Runtime: Sendable {
    public let configuration: RuntimeConfiguration

    /// Reads what is on disk. Throws when crun or conmon is missing.
    public init(_ configuration: RuntimeConfiguration) throws {
        self.configuration = configuration
    }

    /// Makes namespaces, pins them, and joins the pod to the network by the plugins of the configuration in force.
    public func createSandbox(_ spec: SandboxSpec) async throws -> Sandbox { throw RuntimeError(.other, "not yet") }

    /// Removes containers that are left, the addresses, the namespaces. Does nothing when there is no such sandbox.
    public func removeSandbox(_ id: String) async throws {}

    public func sandboxes() -> [Sandbox] { [] }
    public func sandbox(_ id: String) -> Sandbox? { nil }

    public func createContainer(_ spec: ContainerSpec) async throws -> ContainerID {
        throw RuntimeError(.other, "not yet")
    }

    public func startContainer(_ id: ContainerID) async throws {}

    /// Sends the stop signal, waits for `timeoutSeconds`, then kills. Returns when the container ended.
    public func stopContainer(_ id: ContainerID, timeoutSeconds: Int = 30) async throws {}

    /// Removes a container, killing it if it runs. Its log stays. Does nothing when there is no such container.
    public func removeContainer(_ id: ContainerID) async throws {}

    public func containers() -> [ContainerStatus] { [] }
    public func container(_ id: ContainerID) -> ContainerStatus? { nil }

    /// What happens from now on. Every call gives a stream of its own.
    public func events() -> AsyncStream<RuntimeEvent> { AsyncStream { $0.finish() } }

    public func exec(
        _ id: ContainerID, command: [String], tty: Bool = false, stdin: Bool = false,
        environment: [(name: String, value: String)] = []
    ) async throws -> ExecSession { throw RuntimeError(.other, "not yet") }

    public func attach(_ id: ContainerID) async throws -> ExecSession { throw RuntimeError(.other, "not yet") }

    /// Runs a command to its end and returns its output, up to `limit` bytes. For probes and hooks.
    public func execSync(
        _ id: ContainerID, command: [String], timeoutSeconds: Int? = nil, limit: Int = 16384
    ) async throws -> (exitCode: Int, output: [UInt8]) { throw RuntimeError(.other, "not yet") }

    /// Has the container's log written to a new file: after the old one was renamed.
    public func reopenLog(_ id: ContainerID) async throws {}

    /// Whether pods can get addresses, and if not, why.
    public func networkReady() -> (ready: Bool, message: String) { (false, "") }

    /// What the container uses now, read from its cgroup.
    public func usage(_ id: ContainerID) throws -> ContainerUsage { throw RuntimeError(.other, "not yet") }
}

/// Figures of a container's cgroup.
public struct ContainerUsage: Sendable, Hashable {
    public var cpuNanoseconds: Int
    public var memoryBytes: Int
    public var workingSetBytes: Int
    public var pids: Int
}
