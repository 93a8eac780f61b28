// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import NetworkModel
import Testing
import Values

/// Calico's pool_controller tests: what a pool says of itself, and how it goes.
@Suite(.timeLimit(.minutes(1))) struct PoolTests {
    private static func pool(_ name: String, _ cidr: String, disabled: Bool = false) -> KubeObject {
        var pool = KubeObject(.ipPools, kind: "IPPool", name: name)
        pool["spec"] = ["cidr": JSON(cidr), "blockSize": 26, "disabled": JSON(disabled)]
        return pool
    }

    private static func reason(_ pool: KubeObject?) -> String? {
        pool?["status"]["conditions"].array?.first { $0["type"].string == "Allocatable" }?["reason"].string
    }

    @Test func poolsSayWhetherTheyAreAllocatable() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.client.create(.ipPools, Self.pool("on", "10.0.0.0/24"))
            _ = try await cluster.client.create(.ipPools, Self.pool("off", "10.0.1.0/24", disabled: true))
            try await cluster.until(.ipPools) { pools in
                Self.reason(pools.named("on")) == "OK" && Self.reason(pools.named("off")) == "PoolDisabled"
            }
            try await cluster.client.patch(.ipPools, "off", type: .merge, ["spec": ["disabled": false]])
            try await cluster.until(.ipPools) { pools in Self.reason(pools.named("off")) == "OK" }
        }
    }

    @Test func aPoolInUseIsNotRemoved() async throws {
        try await TestCluster.with { cluster in
            var pool = Self.pool("p", "10.0.0.0/24")
            pool.metadata["annotations"] = ["catbird.dev/delete-when-empty": "true"]
            _ = try await cluster.client.create(.ipPools, pool)
            try await cluster.until(.ipPools) { $0.named("p")?.finalizers == [PoolStatus.finalizer] }
            let cidr = try #require(CIDR("10.0.0.64/26"))
            var block = IPAMBlock(cidr, node: "a", now: .now)
            _ = block.allocate(handleID: "by-hand", values: ["note": "no pod of ours"])
            var handle = IPAMHandle(handleID: "by-hand")
            handle.increment(cidr)
            _ = try await cluster.client.create(.ipamHandles, handle.encoded())
            _ = try await cluster.client.create(
                .blockAffinities, BlockAffinity(node: "a", cidr: cidr, state: .confirmed).encoded())
            let stored = try await cluster.client.create(.ipamBlocks, block.encodedForWrite())
            try await cluster.client.delete(.ipPools, "p")
            try await cluster.until(.ipPools) { pools in Self.reason(pools.named("p")) == "Terminating" }
            // The claim goes, the block stays as nobody's with its address.
            try await cluster.until(.blockAffinities) { $0.isEmpty }
            let left = try await cluster.until(.ipamBlocks) { $0.first?["spec"]["affinity"].string == nil }
            #expect(left.count == 1)
            var empty = try IPAMBlock(try #require(left.first))
            #expect(empty.object.uid == stored.uid)
            empty.release(handleID: "by-hand")
            _ = try await cluster.client.update(.ipamBlocks, empty.encodedForWrite())
            // The collector deletes the empty block that is nobody's, and with it the pool goes.
            try await cluster.until(.ipPools) { $0.isEmpty }
        }
    }

    @Test func aPoolWithoutTheFinalizerGoesAtOnce() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.client.create(.ipPools, Self.pool("p", "10.0.0.0/24"))
            try await cluster.until(.ipPools) { Self.reason($0.named("p")) == "OK" }
            try await cluster.client.delete(.ipPools, "p")
            try await cluster.until(.ipPools) { $0.isEmpty }
        }
    }
}
