// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Coordination
import Glibc
import HTTPServing
import Linux
public import Logging
import Values

/// Keeps one profile's cluster running: makes its fabric and namespaces, starts its processes, and starts again
/// whatever dies. It can itself be killed at any time: what it started goes on, and its successor takes it over.
public actor Supervisor {
    let paths: ProfilePaths
    let store: ProfileStore
    let executable: String
    let log: Logger
    nonisolated let progress = ProgressLog()
    var profile: Profile
    private var watchers: [String: Task<Void, Never>] = [:]
    private var restarts: [String: Int] = [:]
    private var network: NetworkKeeper?
    private let stopped: AsyncStream<Void>
    private let stop: AsyncStream<Void>.Continuation
    private var isStopping = false
    /// Starting and stopping one node come after each other, in the order in which they were asked for: two boots at once
    /// would make its disk twice, and a stop would take the namespaces away from under a start.
    private var turns: [String: AsyncLock] = [:]
    private var bringUpState = BringUpState.working
    /// The wait between two attempts to bring the cluster up.
    private var pause: Task<Void, any Error>?

    public init(profile name: ProfileName, executable: String, log: Logger) throws {
        store = ProfileStore()
        paths = store.paths(name)
        profile = try store.load(name)
        self.executable = executable
        self.log = log
        (stopped, stop) = AsyncStream.makeStream(of: Void.self)
    }

    private var fabric: ClusterFabric { ClusterFabric(profile: profile, paths: paths, executable: executable) }

    /// Runs until told to stop.
    public func run() async throws {
        try Files.makeDirectories("\(paths.run)/pids", mode: 0o700)
        guard let lock = try FileLock.tryLock("\(paths.run)/supervisor.lock") else {
            throw LocalClusterError(.resourceInUse, "Profile \"\(profile.name)\" already has a supervisor.")
        }
        try ProcessRecord(pid: getpid())?.write(to: paths.pidFile("supervisor"))
        let server = SupervisorServer(supervisor: self, socket: paths.supervisorSocket, log: log)
        let serving = Task { try await server.run() }
        defer { serving.cancel() }
        let bringingUp = Task { await bringUpUntilItStands() }
        for await _ in stopped { break }
        bringingUp.cancel()
        pause?.cancel()
        _ = lock
    }

    /// Again and again, until it stands: what was in the way, a full disk for one, goes without anybody telling.
    private func bringUpUntilItStands() async {
        var attempts = 0
        while !Task.isCancelled, !isStopping {
            do {
                try await bringUp()
                bringUpState = .up
                return
            } catch {
                if isStopping { return }
                attempts += 1
                let seconds = min(30, 1 << min(attempts - 1, 5))
                bringUpState = .failed("\(error)", attempts: attempts, next: .now + .seconds(seconds))
                progress.note("failed", "\(error)", ["failed": true, "attempts": JSON(attempts)])
                log.error(
                    "the cluster did not come up",
                    metadata: ["error": "\(error)", "attempt": "\(attempts)", "next in": "\(seconds) s"])
                let pause = Task { try await Task.sleep(for: .seconds(seconds)) }
                self.pause = pause
                _ = await pause.result
            }
        }
    }

    /// Does not wait any longer for the next attempt.
    func tryAgain() { pause?.cancel() }

    private func bringUp() async throws {
        keepGuard()
        let images = Task { try await installImages() }
        try await fabric.create()
        keepNetwork()
        progress.note("fabric", "The fabric of \(profile.plan.racks.count) rack(s) is up")
        try await images.value
        let wanted = profile.wantedNodes
        // The control plane's node first: everything else waits for the API, and not the other way round.
        for node in wanted.prefix(1) { try await bringUp(node) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in wanted.dropFirst() { group.addTask { try await self.bringUp(node) } }
            try await group.waitForAll()
        }
        progress.note("supervised", "All processes of \(profile.name) are started", ["done": true])
    }

    private func bringUp(_ node: Profile.Node) async throws {
        try await turn(node.name).withLock { try await boot(node) }
    }

    private func turn(_ node: String) -> AsyncLock {
        let turn = turns[node] ?? AsyncLock()
        turns[node] = turn
        return turn
    }

    private func boot(_ node: Profile.Node) async throws {
        // It may have been stopped or removed since it was listed.
        guard profile.wantedNodes.contains(where: { $0.name == node.name }), !isStopping else { return }
        let namespaces = try await fabric.attach(node)
        await network?.add(node, namespaces)
        if node.name == profile.controlPlaneNode?.name {
            keep(
                SupervisedProcess(
                    name: "controlplane", executable: executable, arguments: ["controlplane", "-p", profile.name.text],
                    namespaces: Namespaces.Target(net: namespaces.target.net), knowsHostNetwork: true, paths: paths))
        }
        keep(
            SupervisedProcess(
                name: "node-\(node.name)", executable: "\(NodeNamespaces.binaryFolder)/catbird",
                arguments: ["node", "--name", node.name],
                environment: Surroundings.environment(ofNode: NodeNamespaces.environment),
                namespaces: namespaces.target, cgroup: namespaces.processCgroup,
                knowsHostNetwork: true, paths: paths)
        ) { [fabric] in
            // With the node's first process all of the node ends: then it boots anew.
            if !namespaces.exists { _ = try await fabric.attach(node) }
        }
        progress.note("node", "Node \(node.name) is started at \(node.address)", ["node": JSON(node.name)])
    }

    /// The built-in images, made of this very program.
    private func installImages() async throws {
        guard let busybox = HostEnvironment.find("busybox") else {
            throw LocalClusterError(
                .hostUnsupported, "busybox was not found.",
                nextStep: "Install with: sudo apt-get install busybox-static")
        }
        try await ImageStore(root: paths.machine.images).installBuiltins(
            from: BuiltinSources(
                catbird: executable, plugin: "\(Files.directory(of: executable))/catbird-cni", busybox: busybox))
    }

    /// Starts the process, and again whenever it ends, until told otherwise.
    ///
    /// - Parameter prepare: what has to be there before it can be started.
    private func keep(_ process: SupervisedProcess, prepare: (@Sendable () async throws -> Void)? = nil) {
        guard watchers[process.name] == nil, !isStopping else { return }
        let log = log
        watchers[process.name] = Task {
            var quickDeaths = 0
            while !Task.isCancelled {
                let started = ContinuousClock.now
                var wasKilled = false
                do {
                    try await prepare?()
                    let (child, isNew) = try process.adoptOrStart()
                    log.info("\(isNew ? "started" : "found") \(process.name)", metadata: ["pid": "\(child.pid)"])
                    let status = await child.wait()
                    if Task.isCancelled { return }
                    log.warning("\(process.name) ended", metadata: ["status": "\(status)"])
                    self.noteRestart(process.name, "\(status)")
                    wasKilled = status == .signalled(SIGKILL)
                } catch {
                    log.error("cannot start \(process.name)", metadata: ["error": "\(error)"])
                    self.noteRestart(process.name, "\(error)")
                }
                // Who kills from outside wants to see it come back; a process that ends by itself may do so for ever.
                let isQuick = ContinuousClock.now - started < (wasKilled ? .milliseconds(100) : .seconds(5))
                quickDeaths = isQuick ? quickDeaths + 1 : 0
                // A process that dies at once would keep a core busy with starting it: from the second quick death on
                // it waits a little longer each time, up to two seconds.
                if quickDeaths > 1 { try? await Task.sleep(for: .milliseconds(min(2000, 100 << min(quickDeaths, 5)))) }
            }
        }
    }

    private func noteRestart(_ name: String, _ reason: String) {
        restarts[name, default: 0] += 1
        let words = LastWords.of(paths.log(name))
        progress.note(
            "restart", "\(name) ended (\(reason)) and is started again",
            ["process": JSON(name), "lastWords": JSON(words)])
    }

    /// What others change of the network is put back for as long as the supervisor runs.
    private func keepNetwork() {
        guard network == nil else { return }
        do {
            let keeper = try NetworkKeeper(fabric, profile: profile, paths: paths, progress: progress, log: log)
            network = keeper
            watchers["network"] = Task { await keeper.run() }
        } catch {
            log.error("changes of the network by others will not be noticed", metadata: ["error": "\(error)"])
        }
    }

    private func keepGuard() {
        keep(
            SupervisedProcess(
                name: "guard", executable: executable, arguments: ["supervise", "--guard", "-p", profile.name.text],
                paths: paths))
    }

    private func forget(_ name: String) {
        watchers.removeValue(forKey: name)?.cancel()
    }

    // MARK: - Commands

    func status() -> JSON {
        let names = ["supervisor", "guard", "controlplane"] + profile.nodes.map { "node-\($0.name)" }
        return [
            "profile": profile.json, "bringUp": bringUpState.json,
            "processes": .array(
                names.map { name in
                    let record = ProcessRecord.running(at: paths.pidFile(name))
                    return [
                        "name": JSON(name), "running": JSON(record != nil),
                        "pid": record.map { JSON(Int($0.pid)) } ?? nil, "restarts": JSON(restarts[name] ?? 0),
                    ]
                }),
        ]
    }

    private func unknown(_ node: String) -> LocalClusterError {
        LocalClusterError(.guestNotFound, "Node \"\(node)\" does not exist in profile \"\(profile.name)\".")
    }

    func startNode(_ name: String) async throws {
        guard let node = profile.node(named: name) else { throw unknown(name) }
        profile.stopped.remove(name)
        try store.save(profile)
        try await bringUp(node)
    }

    /// As if the node's power went: its processes end, its addresses are gone, its disk stays.
    func stopNode(_ name: String, forGood: Bool = false) async throws {
        guard let index = profile.nodes.firstIndex(where: { $0.name == name }) else { throw unknown(name) }
        let node = profile.nodes[index]
        if forGood { profile.removeNode(name) } else { profile.stopped.insert(name) }
        try store.save(profile)
        try await turn(name).withLock {
            if index == 0 { try await end("controlplane") }
            try await end("node-\(name)")
            await network?.remove(name)
            try await fabric.detach(node, removingDisk: forGood)
        }
        progress.note("node", "Node \(name) is stopped", ["node": JSON(name)])
    }

    func addNode(rack: Int?) async throws -> Profile.Node {
        let node = try profile.addNode(rack: rack)
        try store.save(profile)
        try await bringUp(node)
        return node
    }

    /// Ends everything, and what hangs in the end by force.
    ///
    /// - Throws: what did not end; all else is gone then.
    func stopAll() async throws {
        guard !isStopping else { return }
        isStopping = true
        pause?.cancel()
        var obstacle: (any Error)?
        do { try await end("guard") } catch { obstacle = error }
        // Nodes first, so that pods end while the API still takes their last words.
        let nodes = profile.nodes.map(\.name)
        await withTaskGroup(of: (any Error)?.self) { group in
            for name in nodes {
                group.addTask {
                    do { try await self.endProcess(ofNode: name) } catch { return error }
                    return nil
                }
            }
            for await failure in group { obstacle = obstacle ?? failure }
        }
        do { try await end("controlplane") } catch { obstacle = obstacle ?? error }
        await network?.end()
        forget("network")
        do { try await ClusterFabric.destroy(paths: paths) } catch { obstacle = obstacle ?? error }
        unlink(paths.pidFile("supervisor"))
        stop.finish()
        if let obstacle { throw obstacle }
    }

    private func endProcess(ofNode name: String) async throws {
        try await turn(name).withLock { try await end("node-\(name)") }
    }

    private func end(_ name: String) async throws {
        forget(name)
        try await SupervisedProcess.end(name, paths: paths, grace: .seconds(1))
    }
}

/// How far a supervisor has come.
enum BringUpState: Sendable {
    case working, up
    case failed(_ reason: String, attempts: Int, next: ContinuousClock.Instant)

    var json: JSON {
        switch self {
        case .working: ["state": "working"]
        case .up: ["state": "up"]
        case .failed(let reason, let attempts, let next):
            [
                "state": "failed", "reason": JSON(reason), "attempts": JSON(attempts),
                "secondsToNext": JSON(max(0, Int((next - .now).components.seconds))),
            ]
        }
    }
}
