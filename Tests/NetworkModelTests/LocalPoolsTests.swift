// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct LocalPoolsTests {
    struct Case: Sendable {
        let ipam: JSON
        let says: String
    }

    @Test func whatIsLeftOut() throws {
        let (objects, pools) = try LocalPools.read(
            ["pools": [["cidr": "10.88.0.0/16"], ["cidr": "10.89.0.0/28", "natOutgoing": false, "name": "small"]]],
            network: "n")
        #expect(objects.map(\.name) == ["10-88-0-0-16", "small"])
        #expect(pools.map(\.blockSize) == [26, 28])
        #expect(pools.map(\.natOutgoing) == [true, false])
        #expect(try LocalPools.read(["subnet": "10.88.0.0/16"], network: "n").pools.count == 1)
    }

    @Test(arguments: [
        Case(ipam: [:], says: "network \"n\" has no addresses"), Case(ipam: ["pools": []], says: "is not a list"),
        Case(ipam: ["pools": [1]], says: "ipam.pools[0] is 1"), Case(ipam: ["subnet": "x"], says: "is not a network"),
        Case(ipam: ["pools": [["cidr": "10.0.0.0/24", "size": 1]]], says: "ipam.pools[0].size is no field"),
        Case(ipam: ["pools": [["cidr": "10.0.0.0/24", "vxlanMode": "Always"]]], says: "no other nodes to reach"),
        Case(
            ipam: ["pools": [["cidr": "10.0.0.0/24"], ["cidr": "10.0.0.0/25"]]], says: "ipam.pools[0] (10-0-0-0-24): "),
        Case(
            ipam: ["pools": [["cidr": "10.0.0.0/24", "name": "p"], ["cidr": "10.1.0.0/24", "name": "p"]]],
            says: "two of ipam.pools have the name \"p\""),
    ])
    func whatIsRefused(_ sample: Case) {
        #expect { try LocalPools.read(sample.ipam, network: "n") } throws: { "\($0)".contains(sample.says) }
    }

    @Test func reserved() throws {
        let read = try LocalPools.reserved(["reservedCIDRs": ["10.88.0.0/29", "10.88.1.1"]])
        #expect(read.map { "\($0)" } == ["10.88.0.0/29", "10.88.1.1/32"])
        #expect(throws: LocalPools.Problem.self) { try LocalPools.reserved(["reservedCIDRs": "10.88.0.0/29"]) }
    }

    @Test(arguments: [
        ("10.88.3.4/24", true), ("10.0.0.1/8", true), ("10.89.0.1/24", false), ("10.88.3.4/32", false),
    ])
    func addressesOfTheMachine(_ address: String, _ isClash: Bool) throws {
        let pools = [IPPool(name: "p", cidr: try #require(CIDR("10.88.0.0/16")))]
        #expect((LocalPools.clash(pools, with: try #require(CIDR(address))) != nil) == isClash)
    }
}
