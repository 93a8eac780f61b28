// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct IPPoolValidationTests {
    static func pool(_ name: String, _ spec: JSON) -> KubeObject {
        var object = KubeObject(.ipPools, kind: "IPPool", name: name)
        object["spec"] = spec
        return object
    }

    static let existing = [
        pool("default-ipv4-ippool", ["cidr": "10.244.0.0/16"]),
        pool("zone-east", ["cidr": "192.168.0.0/24"]),
        pool("old", ["cidr": "192.168.1.0/24", "disabled": true]),
    ]

    static func messages(_ spec: JSON, old: JSON? = nil, existing: [KubeObject] = existing) -> [String] {
        IPPoolValidation.validate(
            pool("new", spec), existing: existing + (old.map { [pool("new", $0)] } ?? []),
            old: old.map { pool("new", $0) }
        ).map(\.description)
    }

    static let good: [JSON] = [
        ["cidr": "192.168.2.0/24"], ["cidr": "192.168.2.0/26"], ["cidr": "192.168.2.0/28", "blockSize": 28],
        ["cidr": "192.168.2.0/28", "disabled": true], ["cidr": "fd00:1::/64", "vxlanMode": "Always"],
        ["cidr": "192.168.2.0/24", "ipipMode": "Always", "vxlanMode": "Never", "nodeSelector": "zone == \"east\""],
        ["cidr": "192.168.2.0/24", "ipipMode": "", "vxlanMode": "CrossSubnet", "blockSize": 0],
        ["cidr": "192.168.2.0/24", "allowedUses": ["LoadBalancer"], "nodeSelector": "all()"],
        ["cidr": "192.168.2.0/24", "allowedUses": ["Workload"], "namespaceSelector": "has(team)"],
    ]

    @Test(arguments: good) func accepted(spec: JSON) {
        #expect(Self.messages(spec) == [])
    }

    static let bad: [(JSON, [String])] = [
        ([:], ["spec.cidr: Required value"]),
        (["cidr": "all"], ["spec.cidr: Invalid value: \"all\"", "not a network"]),
        (["cidr": "10.0.0.1"], ["prefix length is missing", "10.0.0.1/32"]),
        (
            ["cidr": "10.244.102.1/24"],
            ["host bits", "10.244.102.0/24", "default-ipv4-ippool (10.244.0.0/16)", "10.245.0.0/24 is free"]
        ),
        (["cidr": "192.168.0.0/24"], ["is the network of pool zone-east", "192.168.2.0/24 is free"]),
        (["cidr": "192.168.1.128/25"], ["lies inside pool old (192.168.1.0/24, disabled)", "192.168.2.0/25 is free"]),
        (["cidr": "192.168.0.0/16"], ["overlaps pool old", "of the same size"]),
        (["cidr": "169.254.4.0/24"], ["link-local", "10.0.0.0/24 is free"]),
        (["cidr": "fe80::/64"], ["link-local", "fd00::/64 is free"]),
        (["cidr": "10.0.0.0/28"], ["smaller than one block of /26 (the default block size)", "spec.blockSize to 28"]),
        (["cidr": "10.0.0.0/24", "blockSize": 16], ["spec.blockSize: Invalid value: 16", "20 to 32"]),
        (["cidr": "fd00::/64", "blockSize": 64], ["116 to 128"]),
        (["cidr": "10.0.0.0/24", "ipipMode": "Always", "vxlanMode": "CrossSubnet"], ["spec.ipipMode", "both on"]),
        (["cidr": "10.0.0.0/24", "ipipMode": "On"], ["Unsupported value: \"On\"", "CrossSubnet"]),
        (["cidr": "fd00::/64", "ipipMode": "Always"], ["IPv4 only"]),
        (["cidr": "10.0.0.0/24", "nodeSelector": "zone = east"], ["spec.nodeSelector", "expected ==", "character 6"]),
        (["cidr": "10.0.0.0/24", "nodeSelector": "global()"], ["global() has no meaning"]),
        (["cidr": "10.0.0.0/24", "allowedUses": ["Work"]], ["spec.allowedUses[0]: Unsupported value: \"Work\""]),
        (["cidr": "10.0.0.0/24", "allowedUses": ["LoadBalancer", "Tunnel"]], ["cannot be combined"]),
    ]

    @Test(arguments: bad) func refused(spec: JSON, words: [String]) {
        let text = Self.messages(spec).joined(separator: "\n")
        for word in words { #expect(text.contains(word), "\(word) is not in: \(text)") }
    }

    @Test func ofTheLabsTwoPoolsWithHostBitsOneIsLetIn() throws {
        let first = Self.pool("east", ["cidr": "10.244.102.1/24", "ipipMode": "Always"])
        #expect(IPPoolValidation.validate(first, existing: [], old: nil).isEmpty)
        #expect(
            IPPoolValidation.warnings(first) == [
                "spec.cidr 10.244.102.1/24 has host bits set: the pool is the network 10.244.102.0/24"
            ])
        #expect(try IPPool(first).cidr == CIDR("10.244.102.0/24"))
        let second = Self.messages(["cidr": "10.244.102.2/24", "ipipMode": "Always"], existing: [first])
        #expect(second.count == 1)
        #expect(second.first?.contains("10.244.102.0/24, which is the network of pool east") == true)
        #expect(IPPoolValidation.warnings(Self.pool("west", ["cidr": "10.244.102.0/24"])).isEmpty)
    }

    @Test func networkAndBlockSizeStay() {
        let text = Self.messages(["cidr": "10.1.0.0/24", "blockSize": 28], old: ["cidr": "10.0.0.0/24"])
            .joined(separator: "\n")
        #expect(text.contains("spec.cidr: Invalid value: \"10.1.0.0/24\""))
        #expect(text.contains("spec.blockSize: Invalid value: 28"))
        #expect(Self.messages(["cidr": "10.0.0.0/24", "natOutgoing": true], old: ["cidr": "10.0.0.0/24"]) == [])
    }

    @Test func theObjectDoesNotOverlapItself() {
        #expect(Self.messages(["cidr": "10.0.0.0/24"], old: ["cidr": "10.0.0.0/24"]) == [])
    }
}

@Suite struct FreeRangeTests {
    @Test func exhaustionIsAdmitted() throws {
        let all = try ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map { try #require(CIDR($0)) }
        #expect(FreeRange.suggestion(like: try #require(CIDR("10.0.0.0/24")), avoiding: all) == nil)
        #expect(FreeRange.suggestion(like: try #require(CIDR("0.0.0.0/0")), avoiding: all) == nil)
    }

    @Test func theEndOfTheRangeIsNotTheEnd() throws {
        let last = try #require(CIDR("192.168.255.0/24"))
        #expect(FreeRange.suggestion(like: last, avoiding: [last]).map { "\($0)" } == "192.168.0.0/24")
    }
}
