// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Testing
import Values

@Suite struct CNIResultTests {
    let result = CNIResult(
        interfaces: [.init(name: "cali0"), .init(name: "eth0", mac: "02:00:00:00:00:01", mtu: 1450, sandbox: "/ns/a")],
        ips: [.init(CIDR(host: IPAddress(10, 0, 0, 1)), interface: 1)])

    @Test func addressesNameTheirVersionBefore1() {
        #expect(result.json(version: .v0_3_1)["ips"][0]["version"].string == "4")
        #expect(result.json(version: .v1_0_0)["ips"][0]["version"] == nil)
    }

    @Test func mtuOfAnInterfaceCameWith1_1() {
        #expect(result.json(version: .v1_0_0)["interfaces"][1]["mtu"] == nil)
        #expect(result.json(version: .v1_1_0)["interfaces"][1]["mtu"].int == 1450)
    }

    @Test(arguments: CNIVersion.allCases) func everyVersionIsReadBack(version: CNIVersion) throws {
        var expected = result
        if version < .v1_1_0 { expected.interfaces[1].mtu = nil }
        #expect(try CNIResult(result.json(version: version)) == expected)
    }

    @Test func malformedAddressIsNamed() {
        let error = #expect(throws: CNIError.self) { try CNIResult(["ips": [["address": "10.0.0.1"]]]) }
        #expect(error?.description.contains("ips[0].address") == true)
    }
}

@Suite struct NetworkConfigurationTests {
    static let list: JSON = [
        "cniVersion": "1.0.0", "name": "k8s-pod-network",
        "plugins": [
            ["type": "calico", "mtu": 1450],
            ["type": "portmap", "capabilities": ["portMappings": true]],
        ],
    ]

    @Test func pluginsInheritNameVersionAndPreviousResult() throws {
        let list = try NetworkConfigurationList(Self.list)
        let configuration = try #require(
            list.configuration(
                plugin: 1, previousResult: ["cniVersion": "1.0.0"],
                runtimeConfig: ["portMappings": [["hostPort": 80]], "bandwidth": [:]]))
        #expect(configuration["name"].string == "k8s-pod-network")
        #expect(configuration["cniVersion"].string == "1.0.0")
        #expect(configuration["runtimeConfig"].object?.keys == ["portMappings"])
        #expect(configuration["prevResult"]["cniVersion"].string == "1.0.0")
        #expect(configuration["capabilities"] == nil)
    }

    @Test func aSinglePluginIsAListOfOne() throws {
        let list = try NetworkConfigurationList(["cniVersion": "0.3.1", "name": "lo", "type": "loopback"])
        #expect(list.plugins.count == 1)
        #expect(list.cniVersion == .v0_3_1)
    }

    @Test func theHighestOfferedVersionCounts() throws {
        var json = Self.list
        json["cniVersions"] = ["0.4.0", "1.1.0", "9.0.0"]
        #expect(try NetworkConfigurationList(json).cniVersion == .v1_1_0)
    }

    static let mistakes: [(JSON, String)] = [
        (["name": "a", "plugins": []], "at least one plugin"),
        (["name": "a", "plugins": [[:]]], "plugins[0] has no type"),
        (["name": "a", "plugins": [["type": "../sh"]]], "is not a file name"),
        (["plugins": [["type": "x"]]], "has no name"),
        (["name": "a b", "plugins": [["type": "x"]]], "malformed"),
        (["cniVersion": "2.0.0", "name": "a", "type": "x"], "supported are 0.3.0"),
        (["name": "a", "type": "x", "disableCheck": "yes"], "disableCheck"),
        (["one"], "not a JSON object"),
    ]

    @Test(arguments: mistakes)
    func mistakesAreNamed(json: JSON, text: String) {
        let error = #expect(throws: CNIError.self) { try NetworkConfigurationList(json) }
        #expect(error?.description.contains(text) == true, "\(String(describing: error))")
    }
}

@Suite struct CNIParametersTests {
    private func read(_ environment: [String: String]) throws(CNIError) -> CNIParameters {
        try CNIParameters { environment[$0] }
    }

    @Test func everythingForADD() throws {
        let parameters = try read([
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "abc", "CNI_NETNS": "/ns/a", "CNI_IFNAME": "eth0",
            "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web=1",
        ])
        #expect(parameters.command == .add)
        #expect(parameters.arguments["K8S_POD_NAME"] == "web=1")
    }

    @Test func deleteNeedsNoNamespace() throws {
        #expect(try read(["CNI_COMMAND": "DEL", "CNI_CONTAINERID": "abc", "CNI_IFNAME": "eth0"]).netns == "")
    }

    static let mistakes: [([String: String], String)] = [
        ([:], "CNI_COMMAND is not set"), (["CNI_COMMAND": "add"], "known are ADD"),
        (["CNI_COMMAND": "ADD", "CNI_NETNS": "/x"], "CNI_CONTAINERID, CNI_IFNAME"),
        (["CNI_COMMAND": "DEL", "CNI_CONTAINERID": "-a", "CNI_IFNAME": "eth0"], "CNI_CONTAINERID \"-a\""),
        (["CNI_COMMAND": "DEL", "CNI_CONTAINERID": "a", "CNI_IFNAME": "a/b"], "not an interface name"),
        (["CNI_COMMAND": "STATUS", "CNI_ARGS": "x"], "not KEY=VALUE"),
    ]

    @Test(arguments: mistakes)
    func mistakesAreNamed(environment: [String: String], text: String) {
        let error = #expect(throws: CNIError.self) { try read(environment) }
        #expect(error?.code == .invalidEnvironment)
        #expect(error?.description.contains(text) == true)
    }
}

@Suite struct AgentMessageTests {
    @Test func requestAndReply() throws {
        let parameters = CNIParameters(command: .add, containerID: "c", netns: "/n", ifName: "eth0")
        let (back, configuration) = try AgentMessage.parse(
            request: AgentMessage.request(parameters, ["name": "net", "cniVersion": "1.0.0", "type": "calico"]))
        #expect(back == parameters)
        #expect(configuration.cniVersion == .v1_0_0)
        let error = CNIError(.tryAgainLater, "later", details: "soon")
        #expect(throws: error) { try AgentMessage.parse(reply: AgentMessage.reply(error: error)) }
    }

    @Test func lengthsAreBounded() {
        #expect(AgentMessage.length(AgentMessage.frame([:]).prefix(4)) == 2)
        #expect(AgentMessage.length([0xFF, 0, 0, 0]) == nil)
        #expect(AgentMessage.length([0]) == nil)
    }
}
