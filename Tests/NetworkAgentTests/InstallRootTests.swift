// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeClientTesting
import Linux
import NetworkAgent
import Testing
import Values

/// What an agent puts on its node, named as Calico's install_test has it.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct InstallRootTests {
    private let laboratory: Laboratory
    private let plugin: String
    private var bin: String { "\(laboratory.folder)/bin" }
    private var net: String { "\(laboratory.folder)/net.d" }

    init() throws {
        laboratory = try Laboratory()
        try laboratory.makeNamespace("node")
        plugin = "\(laboratory.folder)/plugin"
        try Files.replace(plugin, with: Array("the plugin".utf8), mode: 0o755)
        try Files.makeDirectories("\(laboratory.folder)/net.d")
    }

    private func agent(_ variables: [String: String]) throws -> NetworkAgent {
        var environment = [
            "CATBIRD_AGENT_SOCKET": "\(laboratory.folder)/agent.sock", "CATBIRD_CNI_PLUGIN": plugin,
            "CATBIRD_STATE_DIR": "\(laboratory.folder)/state", "CNI_BIN_DIR": bin, "CNI_NET_DIR": net,
        ]
        environment.merge(variables) { _, own in own }
        var configuration = try NetworkAgentConfiguration(environment: environment)
        configuration.namespace = laboratory.namespace("node")
        configuration.mtuFile = nil
        return NetworkAgent(client: MemoryAPI().client, nodeName: "node-1", configuration: configuration)
    }

    /// Runs an agent until it has written the network's file, which is the last that it installs.
    private func install(_ variables: [String: String] = [:], file: String = "10-calico.conflist") async throws -> JSON
    {
        let agent = try agent(variables)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await agent.run() }
            try await laboratory.waitForFile("\(net)/\(file)")
            group.cancelAll()
            return try JSON(parsing: Files.read("\(net)/\(file)"))
        }
    }

    private func failure(_ variables: [String: String]) async throws -> String {
        do { try await agent(variables).run() } catch { return "\(error)" }
        return ""
    }

    private static let custom = """
        {"name": "mine", "cniVersion": "0.3.1", "plugins": [
          {"type": "calico", "nodename": "__KUBERNETES_NODE_NAME__", "mtu": __CNI_MTU__, "some_key": 1,
           "kubernetes": {"kubeconfig": "__KUBECONFIG_FILEPATH__"}},
          {"type": "portmap", "capabilities": {"portMappings": true}}]}
        """

    @Test func theDefault() async throws {
        let network = try await install()
        #expect(network["name"].string == "k8s-pod-network")
        #expect(network["plugins"][0]["type"].string == "calico")
        #expect(network["plugins"][0]["agentSocket"].string == "\(laboratory.folder)/agent.sock")
        #expect(try Files.text("\(bin)/catbird-cni") == "the plugin")
        for name in ["calico", "calico-ipam"] { #expect(try Files.target(ofLink: "\(bin)/\(name)") == "catbird-cni") }
        var info = stat()
        #expect(stat("\(net)/10-calico.conflist", &info) == 0 && info.st_mode & 0o777 == 0o600)
    }

    @Test func aNameOfItsOwn() async throws {
        let network = try await install(["CNI_CONF_NAME": "20-other.conflist"], file: "20-other.conflist")
        #expect(network["plugins"][0]["type"].string == "calico")
        #expect(!Files.exists("\(net)/10-calico.conflist"))
        for name in ["../up.conflist", "network.txt"] {
            let problem = try await failure(["CNI_CONF_NAME": name])
            #expect(problem.contains("CNI_CONF_NAME is \"\(name)\""), "\(problem)")
        }
    }

    @Test(arguments: [true, false]) func customJSON(fromFile: Bool) async throws {
        let template = "\(laboratory.folder)/template"
        try Files.replace(template, with: Array(Self.custom.utf8))
        let network = try await install(
            (fromFile ? ["CNI_NETWORK_CONFIG_FILE": template] : ["CNI_NETWORK_CONFIG": Self.custom])
                .merging(["CNI_MTU": "1400"]) { first, _ in first })
        let calico = network["plugins"][0]
        #expect(network["name"].string == "mine" && calico["some_key"].int == 1)
        #expect(calico["nodename"].string == "node-1" && calico["mtu"].int == 1400)
        #expect(calico["kubernetes"]["kubeconfig"].string == "/etc/cni/net.d/calico-kubeconfig")
        #expect(calico["agentSocket"].string == "\(laboratory.folder)/agent.sock")
        #expect(network["plugins"][1]["agentSocket"] == nil)
    }

    @Test func malformedJSONIsRefused() async throws {
        for text in ["{", "[]", "{\"name\": \"x\", \"plugins\": []}"] {
            let problem = try await failure(["CNI_NETWORK_CONFIG": text])
            #expect(problem.contains("CNI_NETWORK_CONFIG is no network configuration"), "\(problem)")
        }
        #expect(!Files.exists("\(net)/10-calico.conflist"))
    }

    @Test func binariesAreSkippedOrKept() async throws {
        _ = try await install(["SKIP_CNI_BINARIES": "calico-ipam,other"])
        #expect(Files.exists("\(bin)/calico") && !Files.exists("\(bin)/calico-ipam"))
        try Files.replace("\(bin)/catbird-cni", with: Array("an older one".utf8))
        unlink("\(net)/10-calico.conflist")
        _ = try await install(["UPDATE_CNI_BINARIES": "false"])
        #expect(try Files.text("\(bin)/catbird-cni") == "an older one")
        unlink("\(net)/10-calico.conflist")
        _ = try await install()
        #expect(try Files.text("\(bin)/catbird-cni") == "the plugin")
    }

    @Test func aFolderThatCannotBeWrittenIsNamed() async throws {
        for name in ["CNI_BIN_DIR", "CNI_NET_DIR"] {
            let problem = try await failure([name: "/proc/sys/no"])
            #expect(problem.contains("/proc/sys/no"), "\(problem)")
        }
    }
}
