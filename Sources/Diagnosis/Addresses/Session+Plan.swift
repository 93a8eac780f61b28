// SPDX-License-Identifier: Apache-2.0

import IPAM
import Sessions
import KubeClient
import KubeObjects
import NetworkModel
import Values

extension Session {
    /// `ipam plan`: exit code 1 when the change would be refused.
    func plan() async throws -> Int32 {
        let asJSON = try wantsJSON()
        let counts = (try number("nodes", 0...100_000), try number("pods", 0...1_000_000))
        let client = try client()
        let state = try await ClusterAddresses(client)
        var change = IPAMChangePlan.Change(
            deletedPools: arguments.all("delete"), nodeCount: counts.0, podCount: counts.1)
        for (path, document) in try rawDocuments() { try add(document, path, state, &change) }
        let isEmpty = change.pools.isEmpty && change.deletedPools.isEmpty && change.nodes.isEmpty
        guard !isEmpty || change.config != nil || change.nodeCount != nil || change.podCount != nil else {
            throw Failure(
                "plan needs a change: -f CHANGE.yaml, --delete POOL, or --nodes N --pods M. See catbird ipam --help",
                code: 64)
        }
        let plan = IPAMChangePlan.make(change, state.world, existing: state.pools, now: .now)
        output(asJSON ? plan.json.text(indent: 2) + "\n" : plan.text)
        return plan.errors.isEmpty ? 0 : 1
    }

    private func add(
        _ document: JSON, _ path: String, _ state: ClusterAddresses, _ change: inout IPAMChangePlan.Change
    ) throws {
        let object = KubeObject(document)
        let kind = document["kind"].string ?? ""
        guard !object.name.isEmpty else { throw Failure("\(path): a \(kind) has no metadata.name") }
        switch kind {
        case "IPPool": change.pools.append(object)
        case "IPAMConfig", "IPAMConfiguration":
            let errors = IPAMValidation.config(object)
            guard errors.isEmpty else {
                throw Failure("\(path): \(kind) \(object.name): \(errors.map(\.description).joined(separator: "; "))")
            }
            change.config = IPAMConfig(object)
        case "Node":
            // As kubectl apply does: labels that the document does not name stay.
            var labels = state.world.snapshot.nodes[object.name] ?? [:]
            for (key, value) in document["metadata"]["labels"].object ?? [:] {
                labels[key] = value.isNull ? nil : value.string
            }
            change.nodes[object.name] = labels
        default:
            throw Failure(
                "\(path): a plan can tell what IPPool, Node (its labels) and IPAMConfiguration would do, not '\(kind)'")
        }
    }
}

extension IPAMChangePlan {
    var text: String {
        guard errors.isEmpty else {
            return "The change would be refused:\n" + errors.map { "  \($0)\n" }.joined()
        }
        var lines: [String] = []
        let counted = Dictionary(grouping: pods, by: \.fate)
        let words: [(Fate, String)] = [
            (.keeps, "keep their pool"),
            (.moves, "keep their address while they run, and get one of another pool when made anew"),
            (.stranded, "keep an address that is in no pool any more: no NAT and no encapsulation until made anew"),
            (.refused, "would get no address when made anew"),
        ]
        lines.append("Pods (\(pods.count) addresses):")
        for (fate, meaning) in words {
            guard let those = counted[fate] else { continue }
            lines.append("  \(those.count) \(meaning)")
            guard fate != .keeps else { continue }
            for pod in those.prefix(20) {
                lines.append(
                    "    \(pod.pod) \(pod.address) (\(pod.from ?? "no pool") -> \(pod.to ?? "none")): \(pod.reason)")
            }
            if those.count > 20 { lines.append("    and \(those.count - 20) more: -o json lists all") }
        }
        lines.append("")
        var table = TextTable(
            headings: ["POOL", "ADDRESSES", "IN USE", "BLOCKS", "CLAIMED", "NODES", "RUNS SHORT"], rows: [])
        for pool in pools {
            table.rows.append([
                pool.pool, "\(pool.addresses)", "\(pool.usedAddresses)", "\(pool.blocks)", "\(pool.usedBlocks)",
                "\(pool.nodes)", pool.runsShortAt.map { "at pod \($0)" } ?? (pool.isFull ? "is full" : "no"),
            ])
        }
        lines.append("With \(simulatedPods) pods on \(simulatedNodes) nodes:")
        lines.append(table.text.trimmingNewlines)
        if let refusal = firstRefusal {
            lines.append("Pod number \(refusal.pod) would get no address: \(refusal.reason)")
        }
        for warning in warnings { lines.append("Warning: \(warning)") }
        return lines.joined(separator: "\n") + "\n"
    }

    var json: JSON {
        let outlook: [JSON] = pools.map { pool in
            [
                "pool": JSON(pool.pool), "addresses": JSON("\(pool.addresses)"),
                "addressesInUse": JSON(pool.usedAddresses),
                "blocks": JSON("\(pool.blocks)"), "blocksClaimed": JSON(pool.usedBlocks), "nodes": JSON(pool.nodes),
                "runsShortAtPod": pool.runsShortAt.map { JSON($0) } ?? .null, "full": JSON(pool.isFull),
            ]
        }
        let fates: [JSON] = pods.map { pod in
            [
                "namespace": JSON(pod.pod.namespace ?? ""), "pod": JSON(pod.pod.name),
                "address": JSON("\(pod.address)"),
                "fate": JSON(pod.fate.rawValue), "from": pod.from.map { JSON($0) } ?? .null,
                "to": pod.to.map { JSON($0) } ?? .null, "reason": JSON(pod.reason),
            ]
        }
        return [
            "errors": JSON(errors), "warnings": JSON(warnings), "pods": .array(fates), "pools": .array(outlook),
            "simulated": ["nodes": JSON(simulatedNodes), "pods": JSON(simulatedPods)],
            "firstRefusal": firstRefusal.map { ["pod": JSON($0.pod), "reason": JSON($0.reason)] } ?? .null,
        ]
    }
}
