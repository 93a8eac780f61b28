// SPDX-License-Identifier: Apache-2.0

package import ContainerRuntime

/// What a kubelet asks of a runtime: ``ContainerRuntime/Runtime``, or what stands in for it in tests.
package protocol PodRuntime: Sendable {
    func createSandbox(_ spec: SandboxSpec) async throws -> Sandbox
    func removeSandbox(_ id: String) async throws
    func sandboxes() -> [Sandbox]
    func sandbox(_ id: String) -> Sandbox?
    func createContainer(_ spec: ContainerSpec) async throws -> ContainerID
    func startContainer(_ id: ContainerID) async throws
    func stopContainer(_ id: ContainerID, timeoutSeconds: Int) async throws
    func removeContainer(_ id: ContainerID) async throws
    func containers() -> [ContainerStatus]
    func container(_ id: ContainerID) -> ContainerStatus?
    func events() -> AsyncStream<RuntimeEvent>
    func exec(
        _ id: ContainerID, command: [String], tty: Bool, stdin: Bool, environment: [(name: String, value: String)]
    ) async throws -> ExecSession
    func attach(_ id: ContainerID) async throws -> ExecSession
    func execSync(
        _ id: ContainerID, command: [String], timeoutSeconds: Int?, limit: Int
    ) async throws -> (exitCode: Int, output: [UInt8])
    func reopenLog(_ id: ContainerID) async throws
    func writableLayer(_ id: ContainerID) -> String
    func networkReady() -> (ready: Bool, message: String)
    /// Has the network's plugins look at a sandbox that they have connected.
    func checkNetwork(_ id: String) async throws
    /// Removes what belongs to no sandbox and no container that is known, and says what could not be removed.
    func removeOrphans() async -> [String]
}

extension Runtime: PodRuntime {}

/// Where a kubelet's images come from.
package protocol ImageSource: Sendable {
    func image(_ reference: String) -> LocalImage?
    func pull(_ reference: String, credentials: [RegistryCredential]) async throws -> LocalImage
    func list() -> [LocalImage]
}

extension ImageStore: ImageSource {}
