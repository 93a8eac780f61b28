// SPDX-License-Identifier: Apache-2.0

import IPAM
import Sessions
public import KubeClient
import KubeObjects
import Manifests
import NetworkModel
import Values

/// `catbird explain` and `catbird ipam`: Catbird's own questions about addresses.
public enum AddressTool {
    /// Runs one command line that begins with `explain` or `ipam`; prints to the standard streams.
    public static func run(_ words: [String]) async -> Int32 {
        await Session.run(words) { try await $0.answerAboutAddresses() }
    }

    /// The same with its surroundings given: tests pass their own.
    public static func run(
        _ words: [String], input: @escaping @Sendable () -> [UInt8], client: KubeClient?,
        output: @escaping @Sendable (String) -> Void, errors: @escaping @Sendable (String) -> Void
    ) async -> Int32 {
        await Session.run(words, input: input, client: client, output: output, errors: errors) {
            try await $0.answerAboutAddresses()
        }
    }

    static let usage = """
        Usage:
          catbird explain pod/NAME [-n NAMESPACE]      Why the pod has its address, or none.
          catbird explain ip ADDRESS                   Who has the address, or why it is free.
          catbird ipam show [-o svg]                   A picture of pools, blocks and nodes.
          catbird ipam plan -f CHANGE.yaml             What a change would do, before it is made: pools, nodes'
                 [--delete POOL] [--nodes N --pods M]  labels and the IPAM configuration as they would be.
          catbird ipam check [--fix]                   Whether blocks, claims, handles and pods agree.
          catbird ipam migrate POOL                    Replace a pool without breaking the pods that run.
                 --to CIDR | --block-size N [--name NEW] [--recreate [--unmanaged] [--wave N]] [--dry-run]

        Options:
          -o, --output=json      The answer as JSON.
          -p, --profile=NAME     The profile (context of the kubeconfig); the current one if not said.
              --kubeconfig=FILE  Another kubeconfig.

        """
}

extension Session {
    func answerAboutAddresses() async throws -> Int32 {
        let words = arguments.words
        if arguments.flag("help") || words.count < 2 {
            output(AddressTool.usage)
            return arguments.flag("help") ? 0 : 64
        }
        switch (words[0], words[1]) {
        case ("explain", _): return try await explain()
        case ("ipam", "show"): return try await showPicture()
        case ("ipam", "plan"): return try await plan()
        case ("ipam", "check"): return try await check()
        case ("ipam", "migrate"): return try await migrate()
        default:
            throw Failure("catbird \(words[0]) \(words[1]) is not known.\n\(AddressTool.usage)", code: 64)
        }
    }

    /// Whether the answer is wanted as JSON.
    /// - Throws: `Failure` for a form that is neither text, JSON nor among `others`.
    func wantsJSON(or others: [String] = []) throws -> Bool {
        guard let format = arguments.value("output"), !others.contains(format), format != "text" else { return false }
        guard format == "json" else {
            throw Failure(
                "--output \(format) is not known: \((["text", "json"] + others).joined(separator: ", "))", code: 64)
        }
        return true
    }

    private func explain() async throws -> Int32 {
        let asJSON = try wantsJSON()
        let parts =
            arguments.words.count == 2
            ? arguments.words[1].split(separator: "/", maxSplits: 1).map(String.init)
            : Array(arguments.words.dropFirst())
        guard parts.count == 2, let kind = ["pod": 0, "pods": 0, "po": 0, "ip": 1, "address": 1][parts[0]] else {
            throw Failure(
                "explain takes pod/NAME or ip ADDRESS, not '\(arguments.words.dropFirst().joined(separator: " "))'. For example: catbird explain pod/web -n default",
                code: 64)
        }
        let now = Timestamp.now
        if kind == 1 {
            guard let address = IPAddress(parts[1]) else {
                throw Failure(
                    "'\(parts[1])' is not an address. For example: catbird explain ip 10.244.0.5", code: 64)
            }
            let world = try await ClusterAddresses(client()).world
            tell(IPAMExplanation.who(address, world, now: now), asJSON)
            return 0
        }
        let client = try client()
        let world = try await ClusterAddresses(client).world
        let key = ObjectKey(arguments.value("namespace") ?? "default", parts[1])
        guard world.pods[key] != nil else {
            let others = world.pods.keys.filter { $0.name == key.name }.sorted().map(\.description)
            throw Failure(
                "there is no pod \(key)"
                    + (others.isEmpty
                        ? ": kubectl get pods -A lists those there are"
                        : "; there is \(others.joined(separator: ", ")): name its namespace with -n"))
        }
        tell(IPAMExplanation.why(key, world, now: now), asJSON)
        if !asJSON, let rest = await notTakenOver(client) {
            errors("Another manifest was applied over calico-node, of which is not taken over: \(rest)")
        }
        return 0
    }

    /// What of Calico's own manifest has no effect here, as the agent's DaemonSet tells; nil where none was applied. It
    /// stands beside the answer: whoever may not read the DaemonSet gets the answer all the same.
    private func notTakenOver(_ client: KubeClient) async -> String? {
        guard let set = try? await client.get(.daemonSets, "calico-node", in: "kube-system"),
            let rest = set.annotations[AgentKeeper.annotation], !rest.isEmpty
        else { return nil }
        return rest
    }

    private func tell(_ explanation: IPAMExplanation, _ asJSON: Bool) {
        output((asJSON ? explanation.json.text(indent: 2) : explanation.text) + "\n")
    }

    private func showPicture() async throws -> Int32 {
        let asJSON = try wantsJSON(or: ["svg"])
        let picture = AddressPicture(try await ClusterAddresses(client()).world)
        if asJSON {
            output(picture.json.text(indent: 2) + "\n")
        } else if arguments.value("output") == "svg" {
            output(picture.svg)
        } else {
            output(picture.text(showsBlocks: StandardStreams.showsUnicode))
        }
        return 0
    }

    /// Exit code 1 says that something is left to be mended.
    private func check() async throws -> Int32 {
        let asJSON = try wantsJSON()
        let client = try client()
        let state = try await ClusterAddresses(client)
        var findings = IPAMCheck.check(state.world, now: .now)
        var repairs: [AddressRepair] = []
        if arguments.flag("fix"), !findings.isEmpty {
            guard !state.world.isLocked else {
                throw Failure(
                    "The datastore is locked (ClusterInformation default: datastoreReady is false): nothing was mended. Unlock it first: calicoctl datastore migrate unlock"
                )
            }
            (repairs, findings) = try await AddressRepair.mend(findings, client)
        }
        if asJSON {
            output(
                JSON.object([
                    "findings": .array(findings.map(\.json)), "repairs": .array(repairs.map(\.json)),
                ]).text(indent: 2) + "\n")
        } else {
            for repair in repairs { output(repair.sentence + "\n") }
            for finding in findings {
                output("\(finding.sentence)\n")
                if case .byHand(let advice) = finding.repair { output("    by hand: \(advice)\n") }
            }
            let world = state.world
            let scope =
                "\(world.snapshot.blocks.count) blocks, \(world.snapshot.affinities.count) claims, \(world.handles.count) handles, \(world.pods.count) pods"
            if findings.isEmpty {
                output("\(repairs.isEmpty ? "All agree" : "All agree now"): \(scope).\n")
            } else {
                let mendable = findings.count { if case .byHand = $0.repair { false } else { true } }
                output("\(findings.count) finding(s) in \(scope).\n")
                if mendable > 0, !arguments.flag("fix") {
                    output("To mend \(mendable) of them: catbird ipam check --fix\n")
                }
            }
        }
        return findings.isEmpty ? 0 : 1
    }
}
