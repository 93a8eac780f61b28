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

    /// What is taken back once the grace is over.
    private static func releases(_ block: IPAMBlock, _ pods: [KubeObject]) -> [AddressCollection.Release] {
        let world = IPAMWorld(
            snapshot: IPAMSnapshot(blocks: BlockTable([block]), nodes: ["a": [:], "b": [:]]),
            pods: pods.map { PodUse($0) })
        let start = Timestamp(seconds: 1_800_000_000)
        let seen = AddressCollection.decide(world, now: start, grace: 60).seen
        let later = Timestamp(seconds: 1_800_000_060)
        return AddressCollection.decide(world, now: later, grace: 60, seen: seen).releases
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
        let releases = Self.releases(block, pods)
        #expect(releases.map(\.handleID) == ["gone", "node-gone", "other-address", "other-node", "tunnel-dead"])
        #expect(releases.filter(\.isCertain).map(\.handleID) == ["node-gone", "tunnel-dead"])
    }

    @Test func aHandleWithOneUsedAddressIsKept() throws {
        let values = ["pod": "p", "namespace": "default", "node": "a"]
        let block = try Self.block([("h", values), ("h", values)])
        let pod = Self.pod("p", node: "a", ip: "10.244.1.1")
        #expect(Self.releases(block, [pod]).isEmpty)
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
