// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct NodePoolsTests {
    private static let now = Timestamp(seconds: 1_800_000_000)

    private static func pool(_ change: (inout IPPool) throws -> Void) rethrows -> IPPool {
        var pool = IPPool(name: "p", cidr: CIDR(host: IPAddress(10, 0, 0, 0)), blockSize: 32)
        try change(&pool)
        return pool
    }

    /// Whatever is wrong with the only pool: who asks before a pod does is told what the pod will be told.
    @Test func itSaysWhatTheAllocatorSays() throws {
        let pools: [(IPPool, String?)] = [
            (Self.pool { _ in }, nil),
            (Self.pool { $0.isDisabled = true }, "it is disabled"),
            (Self.pool { $0.isBeingDeleted = true }, "it is being deleted"),
            (Self.pool { $0.notAllocatable = "CIDROverlap" }, "its status says Allocatable=False"),
            (Self.pool { $0.allowedUses = [.tunnel] }, "leave out Workload"),
            (Self.pool { $0.allowedUses = [.loadBalancer] }, "leave out Workload"),
            (Self.pool { $0.isAutomatic = false }, "its assignmentMode is Manual"),
            (try Self.pool { $0.nodeSelector = try Selector("rack == '1'") }, "its nodeSelector"),
        ]
        for (pool, reason) in pools {
            let judged = NodePools(node: "a", labels: ["rack": "0"], [pool])
            let decision = AddressAllocator.decide(
                AddressRequest(node: "a", use: .workload, handleID: "h", values: [:], subject: "pod default/web"),
                IPAMSnapshot(pools: [pool], nodes: ["a": ["rack": "0"]]), now: Self.now)
            switch decision {
            case .assign:
                #expect(reason == nil)
                #expect(judged.serving == [pool])
                #expect(judged.rejected.isEmpty)
            case .refuse(let refusal):
                let reason = try #require(reason, "\(refusal)")
                #expect(judged.serving.isEmpty)
                #expect(judged.rejected.first?.reason.contains(reason) == true, "\(judged.rejected)")
                #expect(refusal.description.contains(judged.rejected.first?.reason ?? "?"))
                #expect(refusal.nextStep == judged.nextStep)
            }
        }
    }

    @Test func aPoolOfSomeNamespacesServesTheNode() throws {
        let pool = try Self.pool { $0.namespaceSelector = try Selector("team == 'a'") }
        #expect(NodePools(node: "a", labels: [:], [pool]).serving == [pool])
        #expect(pool.outOfUse == nil)
        #expect(Self.pool { $0.isDisabled = true }.outOfUse != nil)
    }

    @Test func withoutAnyPool() {
        let judged = NodePools(node: "a", labels: [:], [])
        #expect(judged.serving.isEmpty)
        #expect(judged.nextStep.hasPrefix("Create one"))
    }
}
