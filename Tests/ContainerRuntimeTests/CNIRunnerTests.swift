// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import ContainerRuntime
import Glibc
import Linux
import Testing
import Values

/// Plugins are shell scripts that write down what they were asked.
@Suite struct CNIRunnerTests {
    private let scratch: Scratch
    private let runner: CNIRunner
    private let attachment = CNIAttachment(
        containerID: "c1", netns: "/run/ns/c1", arguments: [["IgnoreUnknown", "1"], ["K8S_POD_NAME", "web"]],
        capabilities: ["portMappings": #"[{"hostPort":80,"containerPort":8080,"protocol":"tcp"}]"#])

    init() throws {
        scratch = try Scratch()
        runner = CNIRunner(
            confDir: scratch.path + "/net.d", binDir: scratch.path + "/bin", cacheDir: scratch.path + "/cache")
        try Files.makeDirectories(runner.confDir)
    }

    private func plugin(_ name: String, _ body: String) throws {
        _ = try scratch.write(
            "bin/\(name)",
            "#!/bin/sh\nin=$(cat)\necho \"\(name) $CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS $CNI_PATH\" >> \(scratch.path)/calls\nprintf '%s\\n' \"$in\" >> \(scratch.path)/in-\(name)-$CNI_COMMAND\n\(body)\n",
            mode: 0o755)
    }

    private func calls() -> [String] {
        ((try? Files.text(scratch.path + "/calls")) ?? "").split(separator: "\n").map {
            $0.split(separator: " ").prefix(2).joined(separator: " ")
        }
    }

    private func input(_ name: String) throws -> JSON {
        let text = try Files.text(scratch.path + "/in-" + name)
        return try JSON(parsing: String(try #require(text.split(separator: "\n").last)))
    }

    private static let list =
        #"{"cniVersion":"1.1.0","name":"pods","plugins":[{"type":"first","mtu":1400},{"type":"second","capabilities":{"portMappings":true}}]}"#
    private static let result =
        #"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/run/ns/c1"}],"ips":[{"address":"10.1.2.3/32","interface":0}],"dns":{}}"#

    private func install(_ list: String = list) throws {
        _ = try scratch.write("net.d/10-pods.conflist", list)
        try plugin("first", "case $CNI_COMMAND in ADD) echo '\(Self.result)';; esac")
        try plugin("second", "case $CNI_COMMAND in ADD) echo '\(Self.result)';; esac")
    }

    /// A sandbox that is being made while others are cleaned up after is known before it has an entry.
    @Test func whatIsMadeMeanwhileIsNotForgotten() async throws {
        try install()
        for id in ["c1", "c2"] {
            _ = try await runner.add(CNIAttachment(containerID: id, netns: "", arguments: [], capabilities: [:]))
        }
        let scratch = self.scratch
        try await runner.removeForgotten { id in
            // Known from the moment that the first has gone.
            id == "c2" && ((try? Files.text(scratch.path + "/calls")) ?? "").contains("DEL c1")
        }
        let calls = try Files.text(scratch.path + "/calls")
        #expect(calls.contains("first DEL c1"))
        #expect(!calls.contains("DEL c2"))
    }

    @Test func pluginsRunInOrderAndBackwards() async throws {
        try install()
        let result = try await runner.add(attachment)
        #expect(try CNIResult(result).ips.map(\.address.description) == ["10.1.2.3/32"])
        let first = try input("first-ADD")
        #expect(first["mtu"].int == 1400)
        #expect(first["name"].string == "pods")
        #expect(first["prevResult"] == nil)
        #expect(first["runtimeConfig"] == nil)
        let second = try input("second-ADD")
        #expect(second["prevResult"]["ips"][0]["address"].string == "10.1.2.3/32")
        #expect(second["runtimeConfig"]["portMappings"][0]["hostPort"].int == 80)
        let line = try Files.text(scratch.path + "/calls").split(separator: "\n").first
        #expect(
            line.map(String.init)
                == "first ADD c1 /run/ns/c1 eth0 IgnoreUnknown=1;K8S_POD_NAME=web \(scratch.path)/bin")

        let cached = try JSON(parsing: Files.read(runner.cacheDir + "/pods-c1-eth0"))
        #expect(cached["kind"].string == "cniCacheV1")
        #expect(cached["result"]["ips"][0]["address"].string == "10.1.2.3/32")

        try await runner.check(attachment)
        #expect(try input("second-CHECK")["prevResult"]["ips"] != nil)
        // What is removed is what was added, whatever the configuration says by now.
        _ = try scratch.write(
            "net.d/10-pods.conflist", #"{"cniVersion":"1.1.0","name":"other","plugins":[{"type":"no"}]}"#)
        try await runner.delete(attachment)
        #expect(try input("first-DEL")["prevResult"]["ips"][0]["address"].string == "10.1.2.3/32")
        #expect(calls() == ["first ADD", "second ADD", "first CHECK", "second CHECK", "second DEL", "first DEL"])
        #expect(try Files.list(runner.cacheDir).isEmpty)
    }

    @Test func aFailingPluginIsNamedWithItsReason() async throws {
        try install()
        try plugin(
            "second", #"echo '{"cniVersion":"1.1.0","code":11,"msg":"no free address","details":"pool empty"}'; exit 1"#
        )
        let error = await #expect(throws: RuntimeError.self) { _ = try await runner.add(attachment) }
        #expect(error?.kind == .network)
        #expect(error?.message == "plugin type=\"second\" failed (add): no free address; pool empty")
        try plugin("second", "echo broken >&2; exit 3")
        let raw = await #expect(throws: RuntimeError.self) { _ = try await runner.add(attachment) }
        #expect(raw?.message.contains("broken") == true)
        try plugin("second", "echo nonsense")
        let nonsense = await #expect(throws: RuntimeError.self) { _ = try await runner.add(attachment) }
        #expect(nonsense?.message.contains("not a result") == true)
        let impatient = runner.with(patience: .milliseconds(50))
        try plugin("first", "exec sleep 1000")
        let late = await #expect(throws: RuntimeError.self) { _ = try await impatient.add(attachment) }
        #expect(late?.message.contains("did not end within") == true)
        try plugin("first", "true")
        // A failed ADD is undone from what was noted of it.
        try plugin("second", "true")
        try await runner.delete(attachment)
        #expect(calls().suffix(2) == ["second DEL", "first DEL"])
    }

    /// It holds the plugin's output open for as long as it lives.
    @Test func whatAPluginLeavesBehindHoldsNothingUp() async throws {
        try install()
        try plugin("second", #"sleep 1000 & echo $! >"$0.left"; echo '\#(Self.result)'"#)
        let result = try await runner.add(attachment)
        #expect(result["ips"][0]["address"].string == "10.1.2.3/32")
        let left = try Files.text("\(scratch.path)/bin/second.left").split(separator: "\n").first.flatMap {
            Int32(String($0))
        }
        kill(try #require(left), SIGKILL)
    }

    @Test func theFirstUsableFileByNameCounts() throws {
        #expect(runner.readiness().ready == false)
        #expect(
            runner.readiness().message.contains(
                "cni plugin not initialized: no network config found in \(runner.confDir)"))
        _ = try scratch.write("net.d/05-readme.txt", "no")
        _ = try scratch.write("net.d/20-b.conf", #"{"cniVersion":"1.0.0","name":"b","type":"one"}"#)
        _ = try scratch.write("net.d/06-bad.conflist", "{")
        #expect(try runner.configuration().list.name == "b")
        #expect(runner.readiness().message.contains("needs the plugin \"one\""))
        try plugin("one", "true")
        #expect(runner.readiness() == (true, ""))
    }

    @Test func theOtherVerbsOfTheSpecification() async throws {
        try install()
        try await runner.status()
        #expect(calls() == ["first STATUS", "second STATUS"])
        try plugin("second", #"echo '{"cniVersion":"1.1.0","code":50,"msg":"agent is down"}'; exit 1"#)
        let error = await #expect(throws: RuntimeError.self) { try await runner.status() }
        #expect(error?.message.contains("agent is down") == true)
        try plugin(
            "second",
            #"case $CNI_COMMAND in VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.1.0"]}';; ADD) echo '\#(Self.result)';; esac"#
        )
        #expect(try await runner.versions(of: "second") == ["0.4.0", "1.1.0"])
        _ = try await runner.add(attachment)
        var stale = attachment
        stale.containerID = "c2"
        _ = try await runner.add(stale)
        try await runner.collectGarbage(keeping: [attachment])
        #expect(try input("first-GC")["cni.dev/valid-attachments"].array?.count == 1)
        #expect(try Files.list(runner.cacheDir).map(\.name) == ["pods-c1-eth0"])
        await #expect(throws: RuntimeError.self) {
            try await runner.check(CNIAttachment(containerID: "none", netns: "/x"))
        }
    }
}

extension CNIRunner {
    fileprivate func with(patience: Duration) -> CNIRunner {
        var copy = self
        copy.patience = patience
        return copy
    }
}
