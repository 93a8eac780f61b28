// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import NetworkModel
import Testing
import Values

@Suite(.timeLimit(.minutes(1))) struct AddressTests {
    private static func block(_ handles: [(String, [String: String])]) throws -> IPAMBlock {
        let cidr = try #require(CIDR("10.244.1.0/26"))
        var block = IPAMBlock(cidr, node: "dead", now: Timestamp(seconds: 1_800_000_000))
        for (handle, values) in handles { _ = block.allocate(handleID: handle, values: values) }
        return block
    }

    private static func pod(_ name: String, node: String, ip: String?) -> KubeObject {
        var pod = KubeObject(.pods, kind: "Pod", name: name, namespace: "default")
        pod["spec"] = ["nodeName": JSON(node)]
        if let ip { pod["status"]["podIP"] = JSON(ip) }
        return pod
    }

    @Test func whatIsALeakAndWhatIsNot() throws {
        func values(_ pod: String, _ node: String = "a") -> [String: String] {
            ["pod": pod, "namespace": "default", "node": node]
        }
        let block = try Self.block([
            ("used", values("used")), ("gone", values("gone")), ("other-address", values("moved")),
            ("starting", values("starting")), ("other-node", values("elsewhere")),
            ("node-gone", values("lost", "dead")),
            ("tunnel-a", ["node": "a", "type": "vxlanTunnelAddress"]),
            ("tunnel-dead", ["node": "dead", "type": "vxlanTunnelAddress"]), ("asked-for", ["note": "by hand"]),
        ])
        let pods = [
            Self.pod("used", node: "a", ip: "10.244.1.0"), Self.pod("moved", node: "a", ip: "10.244.1.60"),
            Self.pod("starting", node: "a", ip: nil), Self.pod("elsewhere", node: "b", ip: nil),
        ]
        let leaks = AddressLeaks.find(
            blocks: [block], pod: { key in pods.first { $0.key == key } }, nodeExists: { $0 != "dead" })
        #expect(leaks.map(\.handleID) == ["gone", "node-gone", "other-address", "other-node", "tunnel-dead"])
        #expect(leaks.filter(\.isCertain).map(\.handleID) == ["node-gone", "tunnel-dead"])
    }

    @Test func aHandleWithOneUsedAddressIsKept() throws {
        let values = ["pod": "p", "namespace": "default", "node": "a"]
        let block = try Self.block([("h", values), ("h", values)])
        let pod = Self.pod("p", node: "a", ip: "10.244.1.1")
        #expect(AddressLeaks.find(blocks: [block], pod: { _ in pod }, nodeExists: { _ in true }).isEmpty)
    }

    @Test func theAddressesOfADeletedNodeComeBack() async throws {
        try await TestCluster.with(nodes: ["a", "dead"]) { cluster in
            let handleID = "k8s-pod-network.abc"
            let block = try Self.block([
                (handleID, ["pod": "p", "namespace": "default", "node": "dead"]),
                ("vxlan-tunnel-addr-dead", ["node": "dead", "type": "vxlanTunnelAddress"]),
            ])
            var handle = IPAMHandle(handleID: handleID)
            handle.increment(block.cidr)
            _ = try await cluster.client.create(.ipamHandles, handle.encoded())
            _ = try await cluster.client.create(.ipamBlocks, block.encodedForWrite())
            _ = try await cluster.client.create(
                .blockAffinities, BlockAffinity(node: "dead", cidr: block.cidr, state: .confirmed).encoded())
            try await cluster.client.delete(.nodes, "dead")
            try await cluster.until(.ipamHandles) { $0.isEmpty }
            try await cluster.until(.blockAffinities) { $0.isEmpty }
            try await cluster.until(.ipamBlocks) { $0.isEmpty }
        }
    }

    @Test func theAddressOfAVanishedPodComesBackAfterTheGrace() async throws {
        var configuration = ControllerConfiguration(clusterCACertificatePEM: "PEM")
        configuration.addressGracePeriod = .milliseconds(100)
        try await TestCluster.with(nodes: ["dead"], configuration: configuration) { cluster in
            let block = try Self.block([
                ("k8s-pod-network.abc", ["pod": "p", "namespace": "default", "node": "dead"]),
                ("vxlan-tunnel-addr-dead", ["node": "dead", "type": "vxlanTunnelAddress"]),
            ])
            _ = try await cluster.client.create(.ipamBlocks, block.encodedForWrite())
            let blocks = try await cluster.until(.ipamBlocks) { blocks in
                blocks.first.flatMap { try? IPAMBlock($0) }?.usedCount == 1
            }
            let left = try IPAMBlock(try #require(blocks.first))
            #expect(left.assignments.first?.attribute.handleID == "vxlan-tunnel-addr-dead")
        }
    }
}
