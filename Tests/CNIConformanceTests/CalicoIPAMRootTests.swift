// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import Linux
import Testing
import Values

/// `calico-ipam` as an IPAM plugin of its own, named as Calico's calico_cni_ipam_test has it, and this plugin with
/// another's addresses.
@Suite(.serialized, .enabled(if: geteuid() == 0 && Files.exists("/usr/lib/cni/ptp"))) struct CalicoIPAMRootTests {
    private let machine: Machine

    init() throws {
        machine = try Machine()
        for name in ["c1", "c2"] { try machine.makeNamespace(name) }
    }

    private func network(_ version: String = "1.0.0", pools: JSON, _ ipam: [(String, JSON)] = []) -> JSON {
        var json = machine.network(version, pools: pools, more: [("type", "ptp")])
        for (key, value) in ipam { json["ipam"][key] = value }
        return json
    }

    private func ask(
        _ command: String, _ network: JSON, container: String = "c1", arguments: String = "", previous: JSON? = nil
    )
        async throws -> Machine.Answer
    {
        try await machine.call(
            command, network, container: container, arguments: arguments, program: machine.find("calico-ipam"),
            previous: previous)
    }

    private static let four: JSON = ["cidr": "10.99.0.0/24"]
    private static let six: JSON = ["cidr": "fd00:99::/112"]

    struct Families: Sendable, CustomTestStringConvertible {
        let v4: JSON?
        let v6: JSON?
        let lengths: [String]
        var testDescription: String { "assign_ipv4 \(v4 ?? .null), assign_ipv6 \(v6 ?? .null)" }
    }

    static let families = [
        Families(v4: nil, v6: nil, lengths: ["/26", "/122"]), Families(v4: "true", v6: "false", lengths: ["/26"]),
        Families(v4: "false", v6: "true", lengths: ["/122"]),
        Families(v4: "true", v6: "true", lengths: ["/26", "/122"]),
    ]

    /// Family combinations; an address has its block's prefix, and there is no interface.
    @Test(arguments: families, VerbRootTests.versions) func familyCombinations(
        families: Families, version: String
    ) async throws {
        var network = network(version, pools: [Self.four, Self.six])
        if let v4 = families.v4 { network["ipam"]["assign_ipv4"] = v4 }
        if let v6 = families.v6 { network["ipam"]["assign_ipv6"] = v6 }
        let one = try await ask("ADD", network)
        let addresses = one.json["ips"].array?.compactMap { $0["address"].string } ?? []
        #expect(addresses.count == families.lengths.count, "\(one.text)")
        for (address, length) in zip(addresses, families.lengths) { #expect(address.hasSuffix(length)) }
        #expect(one.json["interfaces"] == nil && one.json["cniVersion"].string == version)
        #expect(try machine.netlink("c1").link("eth0") == nil)
        #expect(try await ask("DEL", network).isSuccess)
        #expect(machine.handles.isEmpty)
    }

    @Test func noPartialDualStack() async throws {
        let network = network(pools: [Self.four, ["cidr": "fd00:99::/127", "blockSize": 127]])
        for container in ["a", "b"] { #expect(try await ask("ADD", network, container: container).isSuccess) }
        let full = try await ask("ADD", network)
        #expect(!full.isSuccess && full.message.contains("fd00:99::/127"), "\(full.text)")
        #expect(machine.handles == ["local.a", "local.b"])
    }

    @Test func disabledAndInvalidPools() async throws {
        let pools: JSON = [
            ["cidr": "10.99.0.0/24", "name": "off", "disabled": true], ["cidr": "10.98.0.0/24", "name": "on"],
            ["cidr": "10.97.0.0/24", "name": "tunnels", "allowedUses": ["Tunnel"]],
        ]
        let any = try await ask("ADD", network(pools: pools))
        #expect(any.address.hasPrefix("10.98.0."), "\(any.text)")
        let named = try await ask("ADD", network(pools: pools, [("ipv4_pools", ["10.98.0.0/24"])]), container: "c2")
        #expect(named.isSuccess, "\(named.text)")
        for wrong in ["off", "tunnels", "missing", "10.1.0.0/16"] {
            let answer = try await ask(
                "ADD", network(pools: pools, [("ipv4_pools", [JSON(wrong)])]), container: "c3")
            #expect(!answer.isSuccess && answer.message.contains(wrong), "\(answer.text)")
        }
        #expect(machine.handles == ["local.c1", "local.c2"])
    }

    @Test func secondPoolWhenTheFirstIsFull() async throws {
        let pools: JSON = [
            ["cidr": "10.97.0.0/31", "name": "small", "blockSize": 31], ["cidr": "10.98.0.0/24", "name": "large"],
        ]
        let network = network(pools: pools, [("ipv4_pools", ["small", "large"])])
        var addresses: [String] = []
        for container in ["a", "b", "c"] {
            addresses.append(try await ask("ADD", network, container: container).address)
        }
        #expect(addresses.prefix(2).allSatisfy { $0.hasPrefix("10.97.0.") })
        #expect(addresses.last?.hasPrefix("10.98.0.") == true)
    }

    @Test func explicitAddressTwice() async throws {
        let network = network(pools: [Self.four])
        for _ in 0..<2 {
            let answer = try await ask("ADD", network, arguments: "IP=10.99.0.9")
            #expect(answer.address == "10.99.0.9", "\(answer.text)")
        }
        let other = try await ask("ADD", network, container: "c2", arguments: "IP=10.99.0.9")
        #expect(!other.isSuccess && other.message.contains("10.99.0.9"), "\(other.text)")
        let outside = try await ask("ADD", network, container: "c2", arguments: "IP=10.1.2.3")
        #expect(!outside.isSuccess && outside.message.contains("10.1.2.3"), "\(outside.text)")
    }

    @Test func delIsIdempotentAndCheckTellsWhatIsHeld() async throws {
        let network = network(pools: [Self.four])
        let one = try await ask("ADD", network)
        #expect(try await ask("CHECK", network, previous: one.json).isSuccess)
        for _ in 0..<2 { #expect(try await ask("DEL", network).isSuccess) }
        let check = try await ask("CHECK", network, previous: one.json)
        #expect(!check.isSuccess && check.message.contains("not held"), "\(check.text)")
    }

    @Test func ptpTakesItsAddresses() async throws {
        let network = network(
            pools: [Self.four], [("gateway", "10.99.0.1"), ("routes", [["dst": "0.0.0.0/0"]])])
        let masquerading = {
            var copy = network; copy["ipMasq"] = true; return copy
        }()
        let one = try await machine.call("ADD", masquerading)
        let two = try await machine.call("ADD", masquerading, container: "c2")
        #expect(one.isSuccess && two.isSuccess, "\(one.text) \(two.text)")
        #expect(one.json["ips"][0]["gateway"].string == "10.99.0.1")
        #expect(![one.address, two.address].contains("10.99.0.1") && one.address != two.address)
        #expect(try await machine.ping(two.address, from: "c1"))
        #expect(try await machine.ping(Machine.stranger, from: "c1"))
        #expect(try await machine.call("CHECK", masquerading, previous: one.json).isSuccess)
        for container in ["c1", "c2"] {
            #expect(try await machine.call("DEL", masquerading, container: container).isSuccess)
        }
        #expect(try machine.leftovers().isEmpty)
        let wrong = try await ask("ADD", self.network(pools: [Self.four], [("gateway", "10.1.0.1")]))
        #expect(wrong.code == 7 && wrong.message.contains("10.1.0.1"), "\(wrong.text)")
        #expect(machine.handles.isEmpty)
    }

    /// calico_cni_k8s_test: host-local with one CIDR and with two.
    @Test(arguments: [1, 2], VerbRootTests.versions.dropLast()) func hostLocalGivesTheAddresses(
        count: Int, version: String
    ) async throws {
        let ranges: [JSON] = [[["subnet": "10.96.0.0/24"]], [["subnet": "fd00:96::/64"]]]
        let network: JSON = [
            "cniVersion": JSON(version), "name": "local", "type": "calico", "path": JSON(machine.store),
            "ipam": [
                "type": "host-local", "dataDir": JSON("\(machine.folder)/host-local"),
                "ranges": .array(Array(ranges.prefix(count))),
            ],
        ]
        let one = try await machine.call("ADD", network)
        #expect(one.isSuccess && one.json["ips"].array?.count == count, "\(one.text)")
        #expect(one.address.hasPrefix("10.96.0.") && one.json["ips"][0]["address"].string?.hasSuffix("/32") == true)
        #expect(try await machine.ping("172.31.255.2", from: "c1"))
        if version != "0.3.1" {
            let check = try await machine.call("CHECK", network, previous: one.json)
            #expect(check.isSuccess, "\(check.text)")
        }
        let held = { try Files.list("\(machine.folder)/host-local/local").map(\.name) }
        #expect(try held().contains(one.address))
        for _ in 0..<2 { #expect(try await machine.call("DEL", network).isSuccess) }
        #expect(try !held().contains(one.address))
        #expect(try machine.leftovers().isEmpty)
        // What fails gives the address back.
        let failed = try await machine.call("ADD", network, netns: machine.path(Machine.node))
        #expect(!failed.isSuccess)
        #expect(try !held().contains { $0.hasPrefix("10.96") })
    }
}
