// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing
import Values

/// What no runtime should send: each ends in an error with the code of its kind and words that lead on, and leaves
/// nothing.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct BadInputRootTests {
    struct Input: Sendable, CustomTestStringConvertible {
        let bytes: [UInt8]
        let code: Int
        var testDescription: String { "\(bytes.count) bytes: \(String(decoding: bytes.prefix(20), as: UTF8.self))" }

        init(_ text: String, _ code: Int) { (bytes, self.code) = (Array(text.utf8), code) }
    }

    struct Key: Sendable, CustomTestStringConvertible {
        let key: String
        let value: JSON
        let code: Int
        /// What the error speaks of; the key unless said otherwise.
        let word: String
        var testDescription: String { "\(key) is \(value)" }

        init(_ key: String, _ value: JSON, _ code: Int = 7, _ word: String? = nil) {
            (self.key, self.value, self.code, self.word) = (key, value, code, word ?? key)
        }
    }

    struct Variable: Sendable, CustomTestStringConvertible {
        let name: String
        let value: String
        var testDescription: String { "\(name)=\(value.prefix(40))" }
    }

    private let machine: Machine

    init() throws {
        machine = try Machine()
        try machine.makeNamespace("c1")
    }

    static let inputs: [Input] = [
        Input("", 6), Input("not JSON", 6), Input("[]", 6), Input("{", 6), Input("null", 6), Input("{}", 7),
        Input("{\"cniVersion\":\"1.0.0\"}", 7), Input("{\"cniVersion\":1,\"name\":\"\"}", 7),
        Input("{\"cniVersion\":\"1.0.0\",\"name\":\"a/b\",\"type\":\"catbird-cni\"}", 7),
        Input(String(repeating: "[", count: 100_000), 6),
        Input("{\"name\":\"x\",\"a\":\"" + String(repeating: "y", count: 1_100_000) + "\"}", 5),
    ]

    @Test(arguments: inputs) func standardInput(input: Input) async throws {
        let answer = try await machine.start(
            machine.find("catbird-cni"), input.bytes,
            [
                "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": machine.path("c1"), "CNI_IFNAME": "eth0",
                "CNI_PATH": machine.bin,
            ])
        #expect(!answer.isSuccess && answer.code == input.code, "\(answer.text)")
        #expect(answer.json["msg"].string?.isEmpty == false && answer.json["cniVersion"].string != nil)
        #expect(try machine.leftovers().isEmpty)
    }

    static let keys: [Key] = [
        Key("datastore", "etcd"), Key("datastore", 1), Key("path", "relative"),
        Key("path", 7), Key("ipam", "host-local"), Key("ipam", ["type": ""], 7, "ipam.type"),
        Key("ipam", ["type": "no-such-plugin"], 7, "no-such-plugin"), Key("ipam", ["type": "../sh"], 7, "ipam.type"),
        Key("ipam", [:], 7, "ipam.pools"), Key("ipam", ["pools": []], 7, "ipam.pools"),
        Key("ipam", ["pools": [[:]]], 7, "ipam.pools[0].cidr"),
        Key("ipam", ["pools": [["cidr": "10.0.0.0"]]], 7, "cidr"),
        Key("ipam", ["pools": [["cidr": "10.99.0.0/24", "size": 3]]], 7, "ipam.pools[0].size"),
        Key("ipam", ["pools": [["cidr": "10.99.0.0/24", "vxlanMode": "Always"]]], 7, "vxlanMode"),
        Key("ipam", ["pools": [["cidr": "10.99.0.0/24", "blockSize": 16]]], 7, "blockSize"),
        Key("ipam", ["pools": [["cidr": "10.99.0.0/24"], ["cidr": "10.99.0.128/25"]]], 7, "overlap"),
        Key("ipam", ["pools": [["cidr": "172.31.0.0/16"]]], 7, "interface eth0"),
        Key("ipam", ["subnet": "usePodCidr"], 7, "cidr"),
        Key("ipam", ["subnet": "10.99.0.0/24", "assign_ipv4": "maybe"], 7, "assign_ipv4"),
        Key("ipam", ["subnet": "10.99.0.0/24", "assign_ipv4": "false"], 7, "no address is left"),
        Key("ipam", ["subnet": "10.99.0.0/24", "ipv4_pools": "all"], 7, "ipv4_pools"),
        Key("ipam", ["subnet": "10.99.0.0/24", "ipv4_pools": ["other"]], 11, "other"),
        Key("ipam", ["subnet": "10.99.0.0/24", "reservedCIDRs": ["x"]], 7, "reservedCIDRs"),
        Key("mtu", "large"), Key("mtu", -1), Key("mtu", 70000), Key("mtu", 1.5),
        Key("runtimeConfig", ["mac": "cat"], 7, "runtimeConfig.mac"),
        Key("runtimeConfig", ["mac": "01:00:00:00:00:01"], 7, "runtimeConfig.mac"),
        Key("runtimeConfig", ["ips": "10.99.0.7"], 7, "runtimeConfig.ips"),
        Key("runtimeConfig", ["ips": ["10.99.0.7", "10.99.0.8"]], 7, "runtimeConfig.ips"),
        Key("runtimeConfig", ["ips": ["10.1.0.7/24"]], 11, "10.1.0.7"),
        Key("runtimeConfig", ["ipRanges": [[["subnet": "10.99.0.0/24"]]]], 2, "ipRanges"),
        Key("prevResult", "none", 6, "result"), Key("catbird", "/no/such/program", 100, "/no/such/program"),
    ]

    @Test(arguments: keys) func keysOfTheConfiguration(key: Key) async throws {
        let answer = try await machine.call("ADD", machine.network(more: [(key.key, key.value)]))
        #expect(!answer.isSuccess && answer.code == key.code, "\(answer.text)")
        #expect(answer.message.contains(key.word), "\(answer.message)")
        #expect(try machine.leftovers().isEmpty)
        #expect(try machine.netlink("c1").link("eth0") == nil)
    }

    @Test func whatNeedsADatastoreThatIsNotThere() async throws {
        var network = machine.network()
        network["datastore"] = nil
        let nobody = try await machine.call("ADD", network.with("agentSocket", JSON("\(machine.folder)/none")))
        #expect(nobody.code == 11 && nobody.message.contains("calico-node"), "\(nobody.text)")
        let etcd = try await machine.call("ADD", network.with("datastore_type", "etcdv3"))
        #expect(etcd.code == 2 && etcd.message.contains("\"datastore\": \"file\""), "\(etcd.text)")
    }

    @Test func unknownKeysOfThePluginsOwnAreLeftAlone() async throws {
        let answer = try await machine.call(
            "ADD", machine.network(more: [("log_level", "info"), ("x-vendor", ["a": [1, 2]])]))
        #expect(answer.isSuccess, "\(answer.text)")
    }

    static let variables: [Variable] = [
        Variable(name: "CNI_COMMAND", value: ""), Variable(name: "CNI_COMMAND", value: "add"),
        Variable(name: "CNI_CONTAINERID", value: ""), Variable(name: "CNI_CONTAINERID", value: "../c1"),
        Variable(name: "CNI_NETNS", value: ""), Variable(name: "CNI_NETNS", value: "99999999"),
        Variable(name: "CNI_IFNAME", value: ""), Variable(name: "CNI_IFNAME", value: "a/b"),
        Variable(name: "CNI_IFNAME", value: "sixteen-letters-"), Variable(name: "CNI_ARGS", value: "garbage"),
        Variable(name: "CNI_ARGS", value: "=;="), Variable(name: "CNI_ARGS", value: "IP=not-an-address"),
        Variable(name: "CNI_ARGS", value: "IP=10.99.0.1,10.99.0.2"),
    ]

    @Test(arguments: variables) func environment(variable: Variable) async throws {
        let answer = try await machine.call("ADD", machine.network(), environment: [variable.name: variable.value])
        #expect(!answer.isSuccess && answer.code == 4, "\(answer.text)")
        #expect(
            answer.message.contains(variable.name) || answer.message.contains("CNI_ARGS"), "\(answer.message)")
        #expect(try machine.leftovers().isEmpty)
    }

    @Test func longNamesAreShortened() async throws {
        let long = String(repeating: "n", count: 200)
        let network = machine.network(more: [("name", JSON(long))])
        let container = String(repeating: "c", count: 120)
        for _ in 0..<2 {
            let one = try await machine.call("ADD", network, container: container, netns: machine.path("c1"))
            #expect(one.isSuccess, "\(one.text)")
        }
        #expect(try await machine.call("DEL", network, container: container, netns: "").isSuccess)
        #expect(try machine.leftovers().isEmpty)
    }
}

extension JSON {
    fileprivate func with(_ key: String, _ value: JSON) -> JSON {
        var copy = self
        copy[key] = value
        return copy
    }
}
