// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// A cluster of a profile of its own, made by the `catbird` that was built beside the tests, and what was on the
/// machine before it.
struct TestCluster {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let profile: String
    let folder: String
    private let catbird: String
    /// Another cluster of the user's may come and go meanwhile: then only what names this profile is held against it.
    private let isAlone: Bool

    init(_ name: String) async throws {
        profile = "t-\(name)-\(getpid())"
        folder = "/tmp/catbird-lifecycle-\(profile)"
        // The test runner lies in the folder of the products.
        let runner = try Files.target(ofLink: "/proc/self/exe")
        catbird = "\(Files.directory(of: runner))/catbird"
        try Files.makeDirectories(folder)
        isAlone = try await Self.run(Self.residue, [], [:]).text.isEmpty
        try await snapshot()
    }

    private static var residue: String {
        let parts = #filePath.split(separator: "/").dropLast(3)
        return "/" + parts.joined(separator: "/") + "/scripts/residue"
    }

    private static func run(
        _ program: String, _ arguments: [String], _ environment: [String: String]
    ) async throws -> ProcessOutput {
        let all = ProcessSpawner.ownEnvironment.merging(environment) { _, new in new }
        return try await ProcessSpawner(program, arguments, environment: all).run()
    }

    private func snapshot() async throws {
        let output = try await Self.run(Self.residue, ["snapshot", "\(folder)/before"], [:])
        guard output.status == .exited(0) else { throw Failure(description: "residue snapshot: \(output.errorText)") }
    }

    /// What is left over of the cluster: nothing is as it should be.
    func leftovers() async throws -> [String] {
        let output = try await Self.run(Self.residue, ["check", "\(folder)/before"], [:])
        let lines = output.text.split(separator: "\n").map(String.init)
        return isAlone ? lines : lines.filter { $0.contains(profile) }
    }

    /// Whatever happened, nothing stays.
    func remove() async throws {
        _ = try await Self.run(catbird, ["delete", "-p", profile], environment)
        try Files.removeTree(folder)
    }

    private var environment: [String: String] { ["KUBECONFIG": "\(folder)/kubeconfig"] }

    /// Types a line into a shell that has `catbird` and `calicoctl` in its path, as a user would.
    func type(_ line: String) async throws -> ProcessOutput {
        let tools = "\(folder)/bin"
        if !Files.exists(tools) {
            try Files.makeDirectories(tools)
            for name in ["catbird", "calicoctl"] { try Files.link(catbird, at: "\(tools)/\(name)") }
        }
        var environment = environment
        environment["PATH"] = "\(tools):\(ProcessSpawner.ownEnvironment["PATH"] ?? "/usr/bin:/bin:/usr/sbin:/sbin")"
        return try await Self.run("/bin/bash", ["-c", line], environment)
    }

    /// The same of a command that has to succeed.
    @discardableResult
    func typed(_ line: String) async throws -> String {
        let output = try await type(line)
        guard output.status == .exited(0) else {
            throw Failure(description: "\(line): \(output.status): \(output.text)\(output.errorText)")
        }
        return output.text
    }

    func apply(_ manifests: String) async throws {
        let file = "\(folder)/manifests.yaml"
        try Files.replace(file, with: Array(manifests.utf8), mode: 0o600)
        try await kubectl("apply", "-f", file)
    }

    /// Runs a verb on the profile, whichever way it ends.
    func attempt(_ verb: [String]) async throws -> ProcessOutput {
        try await Self.run(catbird, verb + ["-p", profile], environment)
    }

    /// The same of another profile of this test's, which ``remove()`` does not know.
    func attempt(_ verb: [String], on other: String) async throws -> ProcessOutput {
        try await Self.run(catbird, verb + ["-p", other], environment)
    }

    @discardableResult
    func catbird(_ verb: String...) async throws -> String {
        let output = try await attempt(verb)
        guard output.status == .exited(0) else {
            throw Failure(description: "catbird \(verb) \(output.status): \(output.errorText)")
        }
        return output.text
    }

    /// Starts the cluster from a shell that prepares itself first; the last of the words may be a prefix of the command.
    func startIn(_ surroundings: String) async throws {
        let output = try await Self.run(
            "/bin/sh", ["-c", "\(surroundings) \"$0\" start -p \"$1\" --nodes 1", catbird, profile], environment)
        guard output.status == .exited(0) else { throw Failure(description: "start: \(output.errorText)") }
    }

    /// Runs a script on the first node.
    func ssh(_ script: String) async throws {
        let output = try await Self.run(catbird, ["ssh", "-p", profile, "--", script], environment)
        guard output.status == .exited(0) else { throw Failure(description: "ssh: \(output.errorText)") }
    }

    /// Lets nodes and pods reach a port of this machine.
    func open(port: UInt16) async throws {
        let output = try await Self.run(
            "nft", ["add", "element", "ip", "catbird-\(profile)", "open-ports", "{ tcp . \(port) }"], [:])
        guard output.status == .exited(0) else { throw Failure(description: "nft: \(output.errorText)") }
    }

    /// The first process of a node, the only one unless it is named, as this machine counts.
    func initProcess(of node: String? = nil) throws -> Int32 {
        let node = node ?? profile
        let text = try Files.text("/run/catbird/\(profile)/nodes/\(node)/init")
        guard let pid = text.split(separator: " ").first.flatMap({ Int32($0) }) else {
            throw Failure(description: "nodes/\(node)/init is \(text)")
        }
        return pid
    }

    @discardableResult
    func kubectl(_ arguments: String...) async throws -> String {
        let output = try await Self.run("kubectl", ["--context", profile] + arguments, environment)
        guard output.status == .exited(0) else {
            throw Failure(description: "kubectl \(arguments): \(output.errorText)")
        }
        return output.text
    }

    /// The deployment that the tests look at: two pods that do nothing.
    func deploy() async throws {
        try await kubectl("create", "deployment", "web", "--image=catbird/lab-frontend", "--replicas=2")
        try await kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    }

    /// Name, uid, address and restarts of the deployment's pods, sorted.
    func pods() async throws -> String {
        try await kubectl(
            "get", "pods", "-l", "app=web", "--sort-by=.metadata.name", "-o",
            "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.podIP} "
                + "{.status.containerStatuses[0].restartCount}{\"\\n\"}{end}")
    }

    func nodes() async throws -> String {
        try await kubectl(
            "get", "nodes", "--sort-by=.metadata.name", "-o",
            "jsonpath={range .items[*]}{.metadata.name} {.status.addresses[0].address}{\"\\n\"}{end}")
    }

    /// The process that the supervisor's folder names.
    func process(_ name: String) throws -> Int32 {
        let text = try Files.text("/run/catbird/\(profile)/pids/\(name)")
        guard let pid = text.split(separator: " ").first.flatMap({ Int32($0) }) else {
            throw Failure(description: "pids/\(name) is \(text)")
        }
        return pid
    }

    /// Ends one of the cluster's processes as if it had crashed, and returns when another has taken its place.
    func crash(_ name: String) async throws {
        let pid = try process(name)
        let changes = try Inotify()
        try changes.add("/run/catbird/\(profile)/pids")
        kill(pid, SIGKILL)
        for await _ in changes.events {
            // The file is replaced by its successor's; between the two it may not be there.
            if let successor = try? process(name), successor != pid { return }
        }
        throw Failure(description: "\(name) did not come back")
    }

    /// Ends the cluster's own processes at once; the containers go on.
    func crashEverything() throws {
        let pids = try Files.list("/run/catbird/\(profile)/pids").map { try process($0.name) }
        for pid in pids { kill(pid, SIGKILL) }
    }

    /// Returns when the API answers. There is no event of its readiness to wait for from outside.
    func waitForAPI() async throws {
        var last = ""
        for _ in 0..<400 {
            do {
                try await kubectl("get", "--raw", "/readyz", "--request-timeout=5s")
                return
            } catch { last = "\(error)" }
        }
        throw Failure(description: "the API does not answer: \(last)")
    }
}
