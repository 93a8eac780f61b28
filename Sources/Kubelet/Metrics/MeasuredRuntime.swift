// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient

/// A runtime of which is counted what is asked of it, and how long that takes.
struct MeasuredRuntime: PodRuntime {
    let runtime: any PodRuntime

    private func measure<Value: Sendable>(
        _ operation: String, _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        let begun = ContinuousClock.now
        KubeletMetrics.operations.add(1, [operation])
        KubeletMetrics.operationErrors.touch([operation])
        defer { KubeletMetrics.operationDurations.observe(since: begun, [operation]) }
        do { return try await body() } catch {
            KubeletMetrics.operationErrors.add(1, [operation])
            throw error
        }
    }

    func createSandbox(_ spec: SandboxSpec) async throws -> Sandbox {
        try await measure("run_podsandbox") { try await runtime.createSandbox(spec) }
    }
    func removeSandbox(_ id: String) async throws {
        try await measure("remove_podsandbox") { try await runtime.removeSandbox(id) }
    }
    func sandboxes() -> [Sandbox] { runtime.sandboxes() }
    func sandbox(_ id: String) -> Sandbox? { runtime.sandbox(id) }
    func createContainer(_ spec: ContainerSpec) async throws -> ContainerID {
        try await measure("create_container") { try await runtime.createContainer(spec) }
    }
    func startContainer(_ id: ContainerID) async throws {
        try await measure("start_container") { try await runtime.startContainer(id) }
    }
    func stopContainer(_ id: ContainerID, timeoutSeconds: Int) async throws {
        try await measure("stop_container") { try await runtime.stopContainer(id, timeoutSeconds: timeoutSeconds) }
    }
    func removeContainer(_ id: ContainerID) async throws {
        try await measure("remove_container") { try await runtime.removeContainer(id) }
    }
    func containers() -> [ContainerStatus] { runtime.containers() }
    func container(_ id: ContainerID) -> ContainerStatus? { runtime.container(id) }
    func events() -> AsyncStream<RuntimeEvent> { runtime.events() }
    func exec(
        _ id: ContainerID, command: [String], tty: Bool, stdin: Bool, environment: [(name: String, value: String)]
    ) async throws -> ExecSession {
        try await measure("exec") {
            try await runtime.exec(id, command: command, tty: tty, stdin: stdin, environment: environment)
        }
    }
    func attach(_ id: ContainerID) async throws -> ExecSession {
        try await measure("attach") { try await runtime.attach(id) }
    }
    func execSync(
        _ id: ContainerID, command: [String], timeoutSeconds: Int?, limit: Int
    ) async throws -> (exitCode: Int, output: [UInt8]) {
        try await measure("exec_sync") {
            try await runtime.execSync(id, command: command, timeoutSeconds: timeoutSeconds, limit: limit)
        }
    }
    func reopenLog(_ id: ContainerID) async throws {
        try await measure("reopen_container_log") { try await runtime.reopenLog(id) }
    }
    func writableLayer(_ id: ContainerID) -> String { runtime.writableLayer(id) }
    func removeOrphans() async -> [String] { await runtime.removeOrphans() }
    func networkReady() -> (ready: Bool, message: String) { runtime.networkReady() }
    func checkNetwork(_ id: String) async throws { try await runtime.checkNetwork(id) }
}
