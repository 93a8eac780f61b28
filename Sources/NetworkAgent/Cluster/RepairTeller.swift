// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import Logging
import NetworkModel
import Values

/// Says what somebody else had taken away and is there again: in the log, and in an event of the Node.
struct RepairTeller: Sendable {
    let node: String
    let view: ClusterView
    let dataplane: Dataplane
    let recorder: EventRecorder
    let metrics: FelixMetrics
    let logger: Logger

    func tell() {
        let repairs = dataplane.takeRepairs()
        guard !repairs.isEmpty else { return }
        metrics.repaired(repairs.count)
        for repair in repairs {
            logger.notice("put back: \(repair)")
            guard let object = view.nodes[nil, node] else { continue }
            recorder.record(
                object, type: .warning, reason: "NetworkRepaired",
                message: "The node's agent put back what somebody else had taken away: \(repair)")
        }
    }
}

extension ClusterView {
    /// The pods of this node by what the blocks say, and by what pods brought along: asked once, at the start.
    func workloads(of node: String, _ book: AddressBook) async -> [IPAddress: String] {
        var result: [IPAddress: String] = [:]
        for pod in pods.all() where pod.annotations[CalicoKeys.podIP] != nil {
            for address in PodWishes.withoutIPAM(pod) ?? [] {
                result[address] = Sandbox.hostInterface(["pod": pod.name, "namespace": pod.namespace ?? ""])
            }
        }
        for block in await book.snapshot().blocks.values {
            for (address, attribute) in block.assignments where attribute.values["node"] == node {
                result[address] = Sandbox.hostInterface(attribute.values)
            }
        }
        return result
    }
}
