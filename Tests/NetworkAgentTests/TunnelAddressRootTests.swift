// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeClient
import KubeClientTesting
import KubeObjects
import Linux
import NetworkModel
import Synchronization
import Testing
import Values

/// Calico's scenarios of a node's tunnel addresses (node/pkg/allocateip), with agents in namespaces.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct TunnelAddressRootTests {
    private static let annotation = "projectcalico.org/IPv4VXLANTunnelAddr"

    /// The address of a node's VXLAN device, as soon as it is in the network; "" for none, as soon as there is none.
    private func wait(_ nodes: TwoNodes, _ node: String, for network: String) async throws -> String {
        let laboratory = nodes.laboratory
        let wanted = CIDR(network)
        let found = Mutex("")
        try await laboratory.wait(in: node) {
            let netlink = try NetlinkSocket(in: laboratory.namespace(node))
            guard let link = try netlink.link("vxlan.calico") else { return wanted == nil }
            // The device may go between the two questions: its end is told, and asked about again.
            let held = ((try? netlink.addresses(interface: link.index)) ?? []).filter { $0.address.family == .v4 }
            guard let wanted, held.count == 1, wanted.contains(held[0].address.address) else { return false }
            found.withLock { $0 = "\(held[0].address.address)" }
            return true
        }
        return found.withLock { $0 }
    }

    private func handles(_ nodes: TwoNodes) -> [String] {
        nodes.api.objects(.ipamHandles).map(\.name).filter { $0.hasPrefix("vxlan-tunnel-addr-") }.sorted()
    }

    /// Restart: nothing is taken and nothing is written.
    @Test func aRestartKeepsTheAddress() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.1.0.0/24", vxlan: "Always"))
        let before = try await nodes.withAgents { try await wait(nodes, "a", for: "10.1.0.0/24") }
        let blocks = nodes.api.objects(.ipamBlocks).map(\.resourceVersion)
        let after = try await nodes.withAgents {
            #expect(try await nodes.startPod("one", on: "b").isSuccess)
            return try await wait(nodes, "a", for: "10.1.0.0/24")
        }
        #expect(before == after)
        let changed = zip(blocks, nodes.api.objects(.ipamBlocks).map(\.resourceVersion)).count { $0 != $1 }
        #expect(changed == 1, "only the pod's block")
    }

    /// Release and reassign: the pool is replaced by another.
    @Test func anotherPoolGivesAnotherAddress() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("old", "10.1.0.0/24", vxlan: "Always"))
        try await nodes.withAgents {
            let old = try await wait(nodes, "a", for: "10.1.0.0/24")
            try await nodes.api.client.delete(.ipPools, "old")
            try await nodes.api.client.create(.ipPools, Sample.pool("new", "10.2.0.0/24", vxlan: "Always"))
            let new = try await wait(nodes, "a", for: "10.2.0.0/24")
            #expect(old != new && handles(nodes) == ["vxlan-tunnel-addr-a", "vxlan-tunnel-addr-b"])
        }
    }

    /// Removal: no pool is carried any more, and no pod is left over that needs the tunnel.
    @Test func withoutEncapsulationThereIsNone() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.1.0.0/24", vxlan: "Always"))
        try await nodes.withAgents {
            for node in TwoNodes.names { _ = try await wait(nodes, node, for: "10.1.0.0/24") }
            try await nodes.api.client.patch(.ipPools, "all", type: .merge, ["spec": ["vxlanMode": "Never"]])
            for node in TwoNodes.names { _ = try await wait(nodes, node, for: "") }
            #expect(handles(nodes).isEmpty)
            #expect(try await nodes.api.client.get(.nodes, "a").annotations[Self.annotation] == nil)
        }
    }

    /// A pod that outlives its pool keeps the tunnel, until it ends.
    @Test func aPodWithoutAPoolKeepsIt() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.1.0.0/24", vxlan: "Always"))
        let laboratory = nodes.laboratory
        try await nodes.withAgents {
            let one = try await nodes.startPod("one", on: "a")
            let two = try await nodes.startPod("two", on: "b")
            #expect(one.isSuccess && two.isSuccess)
            let tunnel = try await wait(nodes, "a", for: "10.1.0.0/24")
            try await nodes.api.client.delete(.ipPools, "all")
            // What comes after it in the watch has been seen when this pod's refusal names no pool.
            let refused = try await nodes.startPod("three", on: "a")
            #expect(!refused.isSuccess)
            #expect(try await wait(nodes, "a", for: "10.1.0.0/24") == tunnel)
            #expect(try await laboratory.ping(two.address, from: "one"))
            for (pod, node) in [("one", "a"), ("two", "b")] {
                #expect(try await nodes.call("DEL", pod: pod, node: node).isSuccess)
            }
            // Any change of a node has the other one look again.
            for node in TwoNodes.names {
                try await nodes.api.client.patch(.nodes, node, type: .merge, ["metadata": ["labels": ["seen": "1"]]])
            }
            for node in TwoNodes.names { _ = try await wait(nodes, node, for: "") }
            #expect(handles(nodes).isEmpty)
        }
    }

    /// Occupied: somebody else has the address that the node's annotation still names.
    @Test func anAddressThatIsSomebodyElsesIsNotTaken() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.1.0.0/24", vxlan: "Always"))
        try await nodes.api.client.patch(
            .nodes, "a", type: .merge, ["metadata": ["annotations": [Self.annotation: "10.1.0.64"]]])
        try await nodes.withAgents {
            // By its name b begins at the second block, and a at the first.
            let b = try await wait(nodes, "b", for: "10.1.0.64/26")
            let a = try await wait(nodes, "a", for: "10.1.0.0/26")
            #expect(a != b)
            let annotated = try await nodes.api.client.get(.nodes, "a").annotations[Self.annotation]
            #expect(annotated == a)
        }
    }

    /// Datastore errors: refused writes are tried again until they are taken.
    @Test func refusedWritesAreRepeated() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.1.0.0/24", vxlan: "Always"))
        let refusals = Mutex(3)
        nodes.api.interfere { request in
            guard request.method == "POST", request.path.hasSuffix("/ipamblocks") else { return nil }
            return refusals.withLock { count in
                guard count > 0 else { return nil }
                count -= 1
                return MemoryAPI.failure(500, "InternalError")
            }
        }
        try await nodes.withAgents {
            for node in TwoNodes.names { _ = try await wait(nodes, node, for: "10.1.0.0/24") }
            #expect(handles(nodes).count == 2 && refusals.withLock { $0 } == 0)
        }
    }
}
