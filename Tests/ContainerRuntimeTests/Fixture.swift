// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import Linux
import Testing
import Values

/// A folder for one test, and what it needs to make a runtime in it. Nothing of it is left afterwards.
final class Scratch: Sendable {
    let path: String

    init() throws {
        path = "/tmp/catbird-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories(path)
    }

    deinit { try? Files.removeTree(path) }

    func write(_ name: String, _ text: String, mode: UInt32 = 0o644) throws -> String {
        let file = "\(path)/\(name)"
        try Files.makeDirectories(Files.directory(of: file))
        try Files.replace(file, with: text.utf8, mode: mode, durable: false)
        return file
    }
}

/// A runtime with busybox in its store.
final class RuntimeFixture: Sendable {
    let scratch: Scratch
    let images: ImageStore
    let configuration: RuntimeConfiguration
    let busybox: LocalImage

    init() async throws {
        scratch = try Scratch()
        let root = scratch.path
        images = ImageStore(root: root + "/images", registries: RegistrySettings())
        try await images.installBuiltins(from: Self.sources)
        busybox = try #require(images.image("catbird/pause"))
        configuration = RuntimeConfiguration(
            stateDirectory: root + "/run", persistentDirectory: root + "/lib", cniConfDir: root + "/net.d",
            cniBinDir: root + "/bin", cniCacheDir: root + "/cni",
            cgroupParent: "/catbird-test-\(getpid())-\(UInt16.random(in: 0 ... .max))",
            images: images)
    }

    /// Busybox plays all parts: it is a static program.
    static let sources = BuiltinSources(
        catbird: "/usr/bin/busybox", plugin: "/usr/bin/busybox", busybox: "/usr/bin/busybox")

    func sandbox(_ id: String = "s1", change: (inout SandboxSpec) -> Void = { _ in }) -> SandboxSpec {
        var spec = SandboxSpec(
            id: id, podNamespace: "default", podName: "web", podUID: "uid-\(id)", hostname: "web", hostNetwork: true,
            logDirectory: scratch.path + "/logs")
        change(&spec)
        return spec
    }

    func container(
        _ script: String, sandbox: String = "s1", name: String = "c", change: (inout ContainerSpec) -> Void = { _ in }
    ) -> ContainerSpec {
        var spec = ContainerSpec(
            sandboxID: sandbox, name: name, image: busybox, command: ["/bin/sh", "-c", script],
            logPath: "\(scratch.path)/logs/\(name).log")
        change(&spec)
        return spec
    }

    /// Removes all that there is, and says what stayed.
    func tearDown(_ runtime: Runtime) async throws {
        for sandbox in runtime.sandboxes() { try await runtime.removeSandbox(sandbox.id) }
        try await CgroupLayout.detect().destroy(configuration.cgroupParent)
        let mounts = try Mounts.list().filter { $0.isBelow(scratch.path) }.map(\.target)
        #expect(mounts == [])
        try #expect(Files.list(configuration.stateDirectory + "/c").map(\.name) == [])
        try #expect(Files.list(configuration.stateDirectory + "/crun").map(\.name) == [])
        try #expect(Files.list(configuration.persistentDirectory + "/containers").map(\.name) == [])
        try #expect(Files.list(configuration.persistentDirectory + "/exits").map(\.name) == [])
        try #expect(Files.list(images.root + "/leases").map(\.name) == [])
    }

    /// Waits for the container's end, by events.
    func exit(_ runtime: Runtime, _ id: ContainerID) async throws -> ContainerStatus {
        let events = runtime.events()
        if let status = runtime.container(id), status.state == .exited { return status }
        for await event in events where event == .exited(id) { break }
        return try #require(runtime.container(id))
    }

    func log(_ name: String = "c") throws -> [String] {
        try Files.text("\(scratch.path)/logs/\(name).log").split(separator: "\n").map { line in
            line.split(separator: " ", maxSplits: 1).dropFirst().joined()
        }
    }
}

func text(_ stream: AsyncStream<[UInt8]>) async -> String {
    var bytes: [UInt8] = []
    for await part in stream { bytes += part }
    return String(decoding: bytes, as: UTF8.self)
}
