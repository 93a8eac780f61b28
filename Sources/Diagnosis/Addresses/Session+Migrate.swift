// SPDX-License-Identifier: Apache-2.0

import IPAM
import Sessions
import KubeClient
import KubeObjects
import NetworkModel
import Values

/// `ipam migrate`: a new pool in the old one's place. It may be run again at any time, and goes on where it stopped.
extension Session {
    /// The annotation by which a second run finds the pool that the first one made.
    private static let replaces = "catbird.dev/replaces"

    /// Exit code 0 when the old pool is gone, 2 when something still holds it.
    func migrate() async throws -> Int32 {
        let asJSON = try wantsJSON()
        guard arguments.words.count == 3 else {
            throw Failure(
                "migrate takes the pool to drain. For example: catbird ipam migrate POOL --to 10.245.0.0/16", code: 64)
        }
        let old = arguments.words[2]
        let wave = try number("wave", 1...1000) ?? 10
        let client = try client()
        let state = try await ClusterAddresses(client)
        guard !state.world.isLocked else {
            throw Failure("The datastore is locked. Unlock it first: calicoctl datastore migrate unlock")
        }
        let new = try successor(of: old, state)
        let migration = PoolMigration.plan(
            from: old, to: new, state.world, existing: state.pools, includesUnmanaged: arguments.flag("unmanaged"),
            wave: wave)
        guard migration.errors.isEmpty else { throw Failure(migration.errors.joined(separator: "\n")) }
        let report = MigrationReport(asJSON ? nil : output)
        for warning in migration.warnings { report.tell("Warning: \(warning)") }
        if arguments.flag("dry-run") {
            for step in migration.steps { report.tell("Would \(step.sentence)") }
        } else {
            try await carryOut(migration, old, client, report)
        }
        let isDone = try await client.find(.ipPools, old) == nil
        if asJSON {
            output(
                JSON.object([
                    "pool": JSON(old), "replacement": JSON(new?.name ?? ""), "done": JSON(isDone),
                    "dryRun": JSON(arguments.flag("dry-run")), "steps": JSON(migration.steps.map(\.sentence)),
                    "log": JSON(report.lines), "warnings": JSON(migration.warnings),
                    "unmanaged": JSON(migration.unmanaged.map(\.description)),
                ]).text(indent: 2) + "\n")
        }
        return isDone || arguments.flag("dry-run") ? 0 : 2
    }

    /// The pool that takes the old one's place: the one of an earlier run, or a copy with another network.
    private func successor(of old: String, _ state: ClusterAddresses) throws -> KubeObject? {
        guard let current = state.pools.first(where: { $0.name == old }) else { return nil }
        if let earlier = state.pools.first(where: { $0.annotations[Self.replaces] == old }) { return earlier }
        let to = arguments.value("to")
        let size = try number("block-size", 20...128)
        guard to != nil || size != nil else {
            throw Failure(
                "migrate needs --to CIDR, --block-size N, or both: what should the pool in the place of \(old) be?",
                code: 64)
        }
        var spec = current["spec"] ?? [:]
        if let to {
            spec["cidr"] = JSON(to)
        } else if let cidr = current["spec"]["cidr"].string.flatMap({ CIDR($0) }) {
            let used = state.pools.compactMap { $0["spec"]["cidr"].string.flatMap { CIDR($0) } }
            guard let free = FreeRange.suggestion(like: cidr, avoiding: used) else {
                throw Failure("no free network of the size of \(cidr) was found: name one with --to")
            }
            spec["cidr"] = JSON("\(free)")
        }
        if let size { spec["blockSize"] = JSON(size) }
        spec["disabled"] = nil
        let names = Set(state.pools.map(\.name))
        let name =
            arguments.value("name")
            ?? (2...1000).lazy.map { "\(old)-\($0)" }.first { !names.contains($0) } ?? "\(old)-new"
        var metadata: JSON = ["name": JSON(name), "annotations": [Self.replaces: JSON(old)]]
        if let text = current.annotations["catbird.dev/fallback-pools"] {
            metadata["annotations"]["catbird.dev/fallback-pools"] = JSON(text)
        }
        return KubeObject([
            "apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": metadata, "spec": spec,
        ])
    }

    private func carryOut(
        _ migration: PoolMigration, _ old: String, _ client: KubeClient, _ report: MigrationReport
    ) async throws {
        var recreations: [[ObjectKey]] = []
        for step in migration.steps {
            switch step {
            case .createPool(let pool):
                report.tell(step.sentence.capitalizedFirst)
                try await client.create(.ipPools, pool)
            case .disablePool(let name):
                report.tell(step.sentence.capitalizedFirst)
                try await client.patch(.ipPools, name, type: .merge, ["spec": ["disabled": true]])
            case .recreatePods(_, let pods):
                guard arguments.flag("recreate") else {
                    recreations.append(pods)
                    continue
                }
                report.tell(step.sentence.capitalizedFirst)
                try await PodRecreation(client: client, limit: try number("timeout", 1...86_400) ?? 300).run(pods)
            case .moveTunnel, .releaseBlock, .deletePool: continue
            }
        }
        if !recreations.isEmpty {
            report.tell(
                "\(recreations.reduce(0) { $0 + $1.count }) pods keep their addresses of \(old) until they are made anew. To have that done now, node by node: catbird ipam migrate \(old) --recreate"
            )
        }
        try await finish(old, client, report)
    }

    /// Gives up what is empty by now; the pool goes when nothing is left of it.
    private func finish(_ old: String, _ client: KubeClient, _ report: MigrationReport) async throws {
        let world = try await ClusterAddresses(client).world
        guard let pool = world.snapshot.pools.first(where: { $0.name == old }) else { return }
        var held = 0
        for cidr in world.snapshot.blocks.networks(within: pool.cidr) {
            guard let block = world.snapshot.blocks[cidr] else { continue }
            guard block.isEmpty else {
                held += 1
                let users = block.assignments.prefix(3).map { address, attribute in
                    let pod = attribute.values["pod"].map { "pod \(attribute.values["namespace"] ?? "")/\($0)" }
                    return "\(address) of \(pod ?? attribute.values["type"] ?? attribute.handleID ?? "no one known")"
                }
                report.tell("Block \(cidr) is still in use: \(users.joined(separator: ", "))")
                continue
            }
            report.tell("Release block \(cidr)")
            do {
                if let claim = block.owner.flatMap({ world.snapshot.affinities[$0, cidr] }) {
                    try await client.delete(
                        .blockAffinities, claim.object.name, resourceVersion: claim.object.resourceVersion)
                }
                try await client.delete(.ipamBlocks, block.name, resourceVersion: block.object.resourceVersion)
            } catch let error as APIError where error.isNotFound {
                continue
            } catch let error as APIError where error.isConflict {
                held += 1
                report.tell("Block \(cidr) is in use again: nothing was released")
            }
        }
        guard held == 0 else {
            report.tell(
                "Pool \(old) is disabled and stays until its \(held) block(s) are free; run the same command again then."
            )
            return
        }
        report.tell("Delete pool \(old)")
        try await client.delete(.ipPools, old)
    }
}

/// What was told while a pool is migrated: to the user as it happens, and to the JSON answer.
private final class MigrationReport {
    private(set) var lines: [String] = []
    private let output: (@Sendable (String) -> Void)?

    init(_ output: (@Sendable (String) -> Void)?) { self.output = output }

    func tell(_ line: String) {
        lines.append(line)
        output?(line + "\n")
    }
}

extension String {
    fileprivate var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
