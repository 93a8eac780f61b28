// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import NetworkModel
import Testing
import Values

@Suite(.timeLimit(.minutes(2))) struct LoadBalancerTests {
    private static func service(_ name: String, annotations: JSON = [:], wanted: String? = nil) -> JSON {
        var spec: JSON = ["type": "LoadBalancer", "ports": [["port": 80]]]
        if let wanted { spec["loadBalancerIP"] = JSON(wanted) }
        return [
            "apiVersion": "v1", "kind": "Service", "spec": spec,
            "metadata": ["name": JSON(name), "namespace": "default", "annotations": annotations],
        ]
    }

    private static func pool(_ name: String, _ cidr: String, blockSize: Int, mode: String = "Automatic") -> JSON {
        [
            "apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": ["name": JSON(name)],
            "spec": [
                "cidr": JSON(cidr), "blockSize": JSON(blockSize), "allowedUses": ["LoadBalancer"],
                "assignmentMode": JSON(mode),
            ],
        ]
    }

    private static func shown(_ services: [KubeObject], _ name: String) -> [String] {
        LoadBalancerAddresses.shown(services.named(name)).map { "\($0)" }
    }

    private static func make(_ cluster: TestCluster, _ service: JSON) async throws {
        _ = try await cluster.client.create(.services, KubeObject(service))
    }

    @Test func poolsForServices() async throws {
        let key = CalicoKeys.serviceIPv4Pools
        try await TestCluster.with { cluster in
            // Without a pool: the range.
            try await Self.make(cluster, Self.service("old"))
            try await cluster.until(.services, in: "default") { Self.shown($0, "old") == ["192.168.49.192"] }
            _ = try await cluster.apply(.ipPools, Self.pool("lb", "172.30.0.0/30", blockSize: 31))
            _ = try await cluster.apply(.ipPools, Self.pool("hand", "172.31.0.0/30", blockSize: 30, mode: "Manual"))
            try await cluster.until(.ipPools) { $0.count == 2 }
            // The first block, by the way of an annotation, by address; the pool that nobody else gets.
            try await Self.make(cluster, Self.service("byhand", annotations: [key: #"["hand"]"#]))
            try await Self.make(
                cluster, Self.service("exact", annotations: [CalicoKeys.loadBalancerIPs: #"["172.30.0.2"]"#]))
            try await Self.make(cluster, Self.service("field", wanted: "172.30.0.3"))
            try await cluster.until(.services, in: "default") {
                Self.shown($0, "byhand") == ["172.31.0.0"] && Self.shown($0, "exact") == ["172.30.0.2"]
                    && Self.shown($0, "field") == ["172.30.0.3"]
            }
            try await Self.make(cluster, Self.service("one"))
            try await Self.make(cluster, Self.service("two"))
            try await cluster.until(.services, in: "default") {
                Set(Self.shown($0, "one") + Self.shown($0, "two")) == ["172.30.0.0", "172.30.0.1"]
            }
            // The pool is full: the event says why, and the Service gets what another gives back.
            try await Self.make(cluster, Self.service("late"))
            try await cluster.until(.events, in: "default") { events in
                events.contains {
                    $0["involvedObject"]["name"].string == "late" && $0["reason"].string == "SyncLoadBalancerFailed"
                        && $0["message"].string?.contains("no address for Service default/late") == true
                        && $0["message"].string?.contains("lb (172.30.0.0/30): ") == true
                }
            }
            try await cluster.client.delete(.services, "field", in: "default")
            try await cluster.until(.services, in: "default") { Self.shown($0, "late") == ["172.30.0.3"] }
            // What is taken is not given twice.
            try await Self.make(cluster, Self.service("thief", wanted: "172.30.0.2"))
            try await cluster.until(.events, in: "default") { events in
                events.contains {
                    $0["involvedObject"]["name"].string == "thief"
                        && $0["message"].string?.contains("Service default/exact") == true
                }
            }
            let services = try await cluster.client.list(.services, in: "default").items
            let all = services.flatMap { LoadBalancerAddresses.shown($0) }
            #expect(Set(all).count == all.count)
            // The Service that had an address of the range has it still.
            #expect(Self.shown(services, "old") == ["192.168.49.192"])
            // Another type, and nothing left at the end.
            _ = try await cluster.client.patch(
                .services, "one", in: "default", type: .merge, ["spec": ["type": "ClusterIP"]])
            try await cluster.until(.services, in: "default") { Self.shown($0, "one").isEmpty }
            for name in ["two", "late", "exact", "byhand", "thief"] {
                try await cluster.client.delete(.services, name, in: "default")
            }
            try await cluster.until(.ipamHandles) { $0.isEmpty }
        }
    }

    @Test func aPoolOverTheRangeKeepsWhatServicesHave() async throws {
        try await TestCluster.with { cluster in
            try await Self.make(cluster, Self.service("a"))
            try await Self.make(cluster, Self.service("b"))
            try await cluster.until(.services, in: "default") {
                Set(Self.shown($0, "a") + Self.shown($0, "b")) == ["192.168.49.192", "192.168.49.193"]
            }
            _ = try await cluster.apply(.ipPools, Self.pool("lb", "192.168.49.192/26", blockSize: 28))
            try await cluster.until(.ipamHandles) { $0.count == 2 }
            try await Self.make(cluster, Self.service("c"))
            let services = try await cluster.until(.services, in: "default") { !Self.shown($0, "c").isEmpty }
            let all = services.flatMap { LoadBalancerAddresses.shown($0) }.map { "\($0)" }
            #expect(all.sorted() == ["192.168.49.192", "192.168.49.193", "192.168.49.194"])
        }
    }

    /// What was held for a Service that went while no controller ran.
    @Test func addressesOfServicesThatAreGoneComeBack() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(.ipPools, Self.pool("lb", "172.30.0.0/28", blockSize: 30))
            let cidr = try #require(CIDR("172.30.0.0/30"))
            var block = IPAMBlock(cidr, owner: .loadBalancer, now: .now)
            var handle = IPAMHandle(handleID: "lb-of-somebody-gone")
            _ = block.allocate(
                handleID: handle.handleID,
                values: ["service": "gone", "namespace": "default", "type": "LoadBalancer"])
            handle.increment(cidr)
            _ = try await cluster.client.create(.ipamHandles, handle.encoded())
            _ = try await cluster.client.create(.ipamBlocks, block.encodedForWrite())
            _ = try await cluster.client.create(
                .blockAffinities, BlockAffinity(owner: .loadBalancer, cidr: cidr, state: .confirmed).encoded())
            // The controllers begin anew.
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await ControllerManager(
                        client: cluster.client, configuration: .init(clusterCACertificatePEM: "PEM")
                    ).run()
                }
                group.addTask { try await cluster.until(.ipamHandles) { $0.isEmpty } }
                try await group.next()
                group.cancelAll()
            }
            // The block stays the Services'.
            let left = try await cluster.client.list(.ipamBlocks).items
            #expect(left.compactMap { try? IPAMBlock($0) }.allSatisfy { $0.isEmpty && $0.owner == .loadBalancer })
        }
    }
}
