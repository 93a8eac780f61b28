// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Kubelet
import Synchronization
import Values

/// A runtime without processes: a test says when containers end.
final class FakeRuntime: PodRuntime {
    struct State {
        var sandboxes: [String: Sandbox] = [:]
        var containers: [ContainerID: ContainerStatus] = [:]
        var specs: [ContainerID: ContainerSpec] = [:]
        var listeners: [AsyncStream<RuntimeEvent>.Continuation] = []
        var isReady = true
        var made = 0
        var stops: [Int] = []
        /// The sandboxes whose network was looked at.
        var checks: [String] = []
        /// Sandboxes are made when this says something: a plugin that takes its time.
        var plugin: AsyncStream<Void>?
        /// Makes the next sandboxes fail.
        var sandboxFailures = 0
        /// Makes the next removals of sandboxes fail, as a plugin does whose agent is not up.
        var removalFailures = 0
        /// Every sandbox has the same address, which one at a time may have.
        var fixesAddress = false
        /// Containers do not end when they are told to.
        var ignoresStops = false
        /// Where what containers write is.
        var layers = "/nonexistent"
        /// Makes a log anew, as a monitor does.
        var reopen: @Sendable (ContainerID) -> Void = { _ in }
        /// What was run in containers.
        var commands: [[String]] = []
        /// How often the command `live` still fails.
        var failures = 0
    }
    let state = Mutex(State())
    /// The sandboxes whose network was looked at, each time one more was.
    let checks: AsyncStream<[String]>
    private let checked: AsyncStream<[String]>.Continuation

    init() { (checks, checked) = AsyncStream.makeStream() }

    private func tell(_ event: RuntimeEvent) {
        for listener in state.withLock({ $0.listeners }) { listener.yield(event) }
    }

    func createSandbox(_ spec: SandboxSpec) async throws -> Sandbox {
        if let plugin = state.withLock(\.plugin) { for await _ in plugin { break } }
        return try state.withLock { state in
            if state.sandboxFailures > 0 {
                state.sandboxFailures -= 1
                throw RuntimeError(.network, "no address left in pool test")
            }
            if state.fixesAddress, !state.sandboxes.isEmpty {
                throw RuntimeError(.network, "10.244.0.5 is assigned already")
            }
            let sandbox = Sandbox(
                spec: spec, state: .ready, createdAt: .now,
                ips: spec.hostNetwork ? [] : [IPAddress(10, 244, 0, UInt8(state.sandboxes.count + 5))],
                netnsPath: nil, cniResult: .null)
            state.sandboxes[spec.id] = sandbox
            return sandbox
        }
    }

    func removeSandbox(_ id: String) async throws {
        try state.withLock { state in
            if state.removalFailures > 0 {
                state.removalFailures -= 1
                throw RuntimeError(.network, "the agent is not up")
            }
            state.sandboxes[id] = nil
            state.containers = state.containers.filter { $0.value.sandboxID != id }
        }
    }

    func checkNetwork(_ id: String) async throws {
        checked.yield(
            state.withLock { state in
                state.checks.append(id)
                return state.checks
            })
    }

    func sandboxes() -> [Sandbox] { state.withLock { Array($0.sandboxes.values) } }
    func sandbox(_ id: String) -> Sandbox? { state.withLock { $0.sandboxes[id] } }

    func createContainer(_ spec: ContainerSpec) async throws -> ContainerID {
        state.withLock { state in
            state.made += 1
            let id = "c\(state.made)"
            state.containers[id] = ContainerStatus(id: id, spec: spec, state: .created, createdAt: .now)
            state.specs[id] = spec
            return id
        }
    }

    func startContainer(_ id: ContainerID) async throws {
        state.withLock {
            $0.containers[id]?.state = .running
            $0.containers[id]?.startedAt = .now
        }
    }

    func stopContainer(_ id: ContainerID, timeoutSeconds: Int) async throws {
        let ends = state.withLock { state in
            state.stops.append(timeoutSeconds)
            return !state.ignoresStops
        }
        if ends { exit(id, 143) }
    }

    /// Ends a container.
    func exit(_ id: ContainerID, _ code: Int) {
        state.withLock {
            $0.containers[id]?.state = .exited
            $0.containers[id]?.exitCode = code
            $0.containers[id]?.finishedAt = .now
        }
        tell(.exited(id))
    }

    /// As after a restart of the machine: namespaces and processes are gone.
    func loseEverything() {
        state.withLock { state in
            for id in state.sandboxes.keys { state.sandboxes[id]?.state = .notReady }
            state.containers = [:]
        }
        tell(.networkChanged)
    }

    func setReady(_ ready: Bool) {
        state.withLock { $0.isReady = ready }
        tell(.networkChanged)
    }

    func removeContainer(_ id: ContainerID) async throws { state.withLock { $0.containers[id] = nil } }
    func containers() -> [ContainerStatus] { state.withLock { Array($0.containers.values) } }
    func container(_ id: ContainerID) -> ContainerStatus? { state.withLock { $0.containers[id] } }

    func events() -> AsyncStream<RuntimeEvent> {
        AsyncStream { continuation in state.withLock { $0.listeners.append(continuation) } }
    }

    func exec(
        _ id: ContainerID, command: [String], tty: Bool, stdin: Bool, environment: [(name: String, value: String)]
    ) async throws -> ExecSession { throw RuntimeError(.other, "not here") }
    func attach(_ id: ContainerID) async throws -> ExecSession { throw RuntimeError(.other, "not here") }
    func execSync(
        _ id: ContainerID, command: [String], timeoutSeconds: Int?, limit: Int
    ) async throws -> (exitCode: Int, output: [UInt8]) {
        state.withLock { state in
            state.commands.append(command)
            guard command == ["live"], state.failures > 0 else { return (0, []) }
            state.failures -= 1
            return (1, Array("probe says no".utf8))
        }
    }
    func reopenLog(_ id: ContainerID) async throws { state.withLock(\.reopen)(id) }
    func writableLayer(_ id: ContainerID) -> String { state.withLock { "\($0.layers)/\(id)" } }
    func removeOrphans() async -> [String] { [] }

    func networkReady() -> (ready: Bool, message: String) {
        state.withLock { ($0.isReady, "no network configuration in /etc/cni/net.d") }
    }
}

/// Images of which one name is known, and one stands in for another.
struct FakeImages: ImageSource {
    func image(_ reference: String) -> LocalImage? {
        switch reference {
        case "app:1":
            LocalImage(
                reference: "app:1", id: "sha256:1", repoDigests: [], repoTags: ["app:1"], sizeBytes: 1, layerPaths: [],
                config: .object([:]), standsInFor: nil)
        case "loaded:latest", "loaded/nowhere:latest":
            LocalImage(
                reference: "docker.io/library/\(reference)", id: "sha256:3", repoTags: [reference], layerPaths: [],
                config: .object([:]))
        case "someone/page":
            LocalImage(
                reference: "docker.io/catbird/lab-frontend:latest", id: "sha256:2", repoDigests: [], repoTags: [],
                sizeBytes: 1, layerPaths: [], config: .object([:]), standsInFor: "someone/page")
        default: nil
        }
    }
    func pull(_ reference: String, credentials: [RegistryCredential]) async throws -> LocalImage {
        if reference == "loaded:latest" {
            throw ImageError(.unreachable, "registry docker.io cannot be reached: refused", next: "image load FILE")
        }
        throw ImageError(.notFound, "no such image")
    }
    func list() -> [LocalImage] { image("app:1").map { [$0] } ?? [] }
}
