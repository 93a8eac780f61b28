// SPDX-License-Identifier: Apache-2.0

import Coordination
import Glibc
import Linux
import Logging
import Synchronization
import Values

/// Pods' sandboxes and containers on one node, over crun, conmon and CNI plugins.
///
/// All state is on disk: a new instance, after the process was killed, finds what runs and how the rest ended.
public final class Runtime: Sendable {
    public let configuration: RuntimeConfiguration
    let paths: RuntimePaths
    let crun: String
    let conmon: String
    let cni: CNIRunner
    let cgroups: CgroupLayout
    let log: Logger
    /// Where conmon's own processes are accounted.
    let conmonCgroup: String

    struct State {
        var sandboxes: [String: SandboxRecord] = [:]
        var containers: [ContainerID: ContainerRecord] = [:]
        /// Open once the container has ended.
        var gates: [ContainerID: Gate] = [:]
        var listeners: [Int: AsyncStream<RuntimeEvent>.Continuation] = [:]
        var nextListener = 0
        /// Containers that are being removed.
        var disposals: [ContainerID: Task<Void, any Error>] = [:]
        var nextExec = 0
    }
    let state = Mutex(State())
    private let watcher: Inotify
    private let watching = Mutex<Task<Void, Never>?>(nil)

    /// Reads what is on disk. Throws when crun or conmon is missing.
    public init(_ configuration: RuntimeConfiguration) throws {
        self.configuration = configuration
        paths = RuntimePaths(configuration)
        log = Logger(label: "runtime")
        crun = try Self.tool("crun", configuration.crunPath)
        conmon = try Self.tool("conmon", configuration.conmonPath)
        cni = CNIRunner(
            confDir: configuration.cniConfDir, binDir: configuration.cniBinDir, cacheDir: configuration.cniCacheDir)
        // A reader of a pipe that goes away must not take this process along.
        signal(SIGPIPE, SIG_IGN)
        CgroupView.hideIfPrivate()
        cgroups = try CgroupLayout.detect()
        conmonCgroup = configuration.cgroupParent + "/conmon"
        try paths.prepare()
        try Files.makeDirectories(configuration.cniConfDir)
        try cgroups.create(conmonCgroup)
        watcher = try Inotify()
        try watcher.add(paths.exits, [.movedTo, .closedAfterWrite])
        try watcher.add(configuration.cniConfDir)
        let agentSocket = configuration.networkAgentSocket
        if let agentSocket {
            try Files.makeDirectories(Files.directory(of: agentSocket))
            try watcher.add(Files.directory(of: agentSocket), [.created, .movedTo])
        }
        recover()
        let events = watcher.events
        let configurations = configuration.cniConfDir
        watching.withLock {
            $0 = Task { [weak self] in
                for await batch in events {
                    guard let self else { return }
                    let concernsNetwork = batch.contains {
                        $0.path == configurations || "\($0.path)/\($0.name)" == agentSocket
                    }
                    if concernsNetwork { self.publish(.networkChanged) }
                    for event in batch where event.path == self.paths.exits { self.containerEnded(event.name) }
                    if batch.contains(where: { $0.kinds.contains(.overflow) }) { self.lookForEnded() }
                }
            }
        }
    }

    deinit {
        watching.withLock { $0?.cancel() }
        for listener in state.withLock({ Array($0.listeners.values) }) { listener.finish() }
    }

    private static func tool(_ name: String, _ configured: String?) throws(RuntimeError) -> String {
        if let configured {
            guard access(configured, X_OK) == 0 else {
                throw RuntimeError(
                    .missingTool, "\(configured) is not an executable: install it with \"apt-get install \(name)\"")
            }
            return configured
        }
        let path =
            ProcessSpawner.ownEnvironment["PATH"] ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        for folder in path.split(separator: ":") where access("\(folder)/\(name)", X_OK) == 0 {
            return "\(folder)/\(name)"
        }
        throw RuntimeError(
            .missingTool, "\(name) is not installed, and containers cannot run without it: \"apt-get install \(name)\"")
    }

    // MARK: Asking

    public func sandboxes() -> [Sandbox] {
        state.withLock { Array($0.sandboxes.values) }.sorted { $0.createdAt < $1.createdAt }.map(\.sandbox)
    }

    public func sandbox(_ id: String) -> Sandbox? { state.withLock { $0.sandboxes[id] }?.sandbox }

    /// All containers, those that ended too, the oldest first.
    public func containers() -> [ContainerStatus] {
        state.withLock { state in
            state.containers.values.filter { !$0.isHidden && $0.phase != .creating && $0.phase != .removing }.map(
                \.status)
        }.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
    }

    public func container(_ id: ContainerID) -> ContainerStatus? {
        state.withLock { $0.containers[id] }.flatMap { $0.phase == .removing ? nil : $0.status }
    }

    /// What the container uses now, read from its cgroup.
    public func usage(_ id: ContainerID) throws -> ContainerUsage {
        let record = try record(id)
        let usage = cgroups.usage(of: record.status.cgroupPath)
        return ContainerUsage(
            cpuNanoseconds: Int(clamping: usage.cpuNanoseconds), memoryBytes: Int(clamping: usage.memoryBytes),
            workingSetBytes: Int(clamping: usage.workingSetBytes), pids: Int(clamping: usage.processes))
    }

    /// The folder of what a container has written over its image.
    public func writableLayer(_ id: ContainerID) -> String { paths.upper(id) }

    /// Whether pods can get addresses, and if not, why.
    public func networkReady() -> (ready: Bool, message: String) { cni.readiness() }

    /// Has the plugins look whether the sandbox's network is as they made it (CHECK). An agent that was started anew
    /// learns from this of the sandbox. Does nothing for a pod on the node's network and one that is not ready.
    public func checkNetwork(_ id: String) async throws {
        guard let record = state.withLock({ $0.sandboxes[id] }), record.phase == .ready, record.netnsPath != nil else {
            return
        }
        try await cni.check(attachment(record))
    }

    /// What happens from now on. Every call gives a stream of its own.
    public func events() -> AsyncStream<RuntimeEvent> {
        AsyncStream(bufferingPolicy: .unbounded) { continuation in
            let number = state.withLock { state in
                state.nextListener += 1
                state.listeners[state.nextListener] = continuation
                return state.nextListener
            }
            continuation.onTermination = { [weak self] _ in
                _ = self?.state.withLock { $0.listeners.removeValue(forKey: number) }
            }
        }
    }

    func publish(_ event: RuntimeEvent) {
        for listener in state.withLock({ Array($0.listeners.values) }) { listener.yield(event) }
    }

    func record(_ id: ContainerID) throws(RuntimeError) -> ContainerRecord {
        guard let record = state.withLock({ $0.containers[id] }), record.phase != .removing else {
            throw RuntimeError(.notFound, "there is no container \(id)")
        }
        return record
    }

    // MARK: Keeping

    /// Changes a container's record, on disk first.
    @discardableResult
    func update(_ id: ContainerID, _ change: (inout ContainerRecord) -> Void) throws -> ContainerRecord? {
        try state.withLock { state in
            guard var record = state.containers[id] else { return nil }
            change(&record)
            record.status.state = record.state
            try Files.replace(paths.record(id), with: record.json.serialized(), durable: false)
            state.containers[id] = record
            return record
        }
    }

    func save(_ record: SandboxRecord) throws {
        try state.withLock { state in
            try Files.replace(paths.sandboxRecord(record.spec.id), with: record.json.serialized(), durable: false)
            state.sandboxes[record.spec.id] = record
        }
    }
}

/// Figures of a container's cgroup.
public struct ContainerUsage: Sendable, Hashable {
    public var cpuNanoseconds: Int
    public var memoryBytes: Int
    public var workingSetBytes: Int
    public var pids: Int
}
