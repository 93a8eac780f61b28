// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import Linux
import Logging
import NetworkModel
import Values

/// Has BIRD run on the node while BGPConfiguration or BGPPeer ask for it, and as they ask.
struct BGPSpeaker: Sendable {
    private let node: String
    private let client: KubeClient
    private let view: ClusterView
    private let book: AddressBook
    private let recorder: EventRecorder
    private let configuration: NetworkAgentConfiguration
    private let logger: Logger
    private let signal: Signal
    private let bird: BIRD

    init(
        node: String, client: KubeClient, view: ClusterView, book: AddressBook, recorder: EventRecorder,
        configuration: NetworkAgentConfiguration, logger: Logger, signal: Signal
    ) {
        self.node = node
        self.client = client
        self.view = view
        self.book = book
        self.recorder = recorder
        self.configuration = configuration
        self.logger = logger
        self.signal = signal
        bird = BIRD(
            program: configuration.birdPath, folder: configuration.birdFolder, namespace: configuration.namespace,
            logger: logger, onDeath: { signal.raise() })
    }

    /// Runs until cancelled.
    func run() async {
        await view.waitForAddresses()
        for informer in view.forBGP { await informer.waitUntilSynced() }
        signal.raise()
        var told: Set<String> = []
        var last: BGPPlan?
        await signal.forEach(onFailure: { logger.error("BIRD will be configured again: \($0)") }) {
            let problems = try await reconcile(&last)
            for problem in problems where !told.contains(problem) { tell(problem) }
            told = Set(problems)
        }
    }

    /// On the node, where `kubectl describe node` shows it, and in the log.
    private func tell(_ problem: String) {
        logger.warning("\(problem)")
        guard let object = view.nodes[nil, node] else { return }
        recorder.record(object, type: .warning, reason: "BGPNotAsAsked", message: problem)
    }

    /// Returns what is not done as the objects ask.
    private func reconcile(_ last: inout BGPPlan?) async throws -> [String] {
        guard last != nil || view.mayAskForBGP else { return [] }
        let (input, unreadable) = await input()
        guard let plan = BGPPlan.make(input, for: node) else {
            if var silent = last {
                silent.sessions = []
                try await bird.stop(silent: BIRDConfiguration.text(silent, passwords: [:]).text)
                last = nil
            }
            return unreadable
        }
        guard Files.exists(configuration.birdPath) else {
            return unreadable + [
                "BGP is asked for, and \(configuration.birdPath) is not there: \"apt-get install bird2\" on the machine, then kubectl rollout restart -n kube-system daemonset/calico-node; in a cluster of Catbird's, catbird stop and catbird start"
            ]
        }
        var passwords: [SecretKey: String] = [:]
        for key in Set(plan.sessions.compactMap(\.password)) { passwords[key] = try await password(key) }
        let (text, problems) = BIRDConfiguration.text(plan, passwords: passwords)
        try await bird.apply(text)
        last = plan
        return unreadable + plan.problems + problems
    }

    private func password(_ key: SecretKey) async throws -> String? {
        guard let secret = try await client.find(.secrets, key.secret, in: configuration.secretNamespace) else {
            return nil
        }
        if let encoded = secret["data"][key.key].string {
            return Base64.bytes(encoded).map { String(decoding: $0, as: UTF8.self) }
        }
        return secret["stringData"][key.key].string
    }

    private func input() async -> (BGPInput, problems: [String]) {
        var problems: [String] = []
        let snapshot = await book.snapshot()
        let nodes = view.nodes.all().compactMap { BGPNode($0) }
        let objects = view.bgpConfigurations
        let settings = objects[nil, "default"].map { BGPSettings($0, node: objects[nil, "node.\(node)"]) }
        var input = BGPInput(
            nodes: Dictionary(nodes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }),
            settings: settings, pools: snapshot.pools, blocks: Array(snapshot.blocks.values))
        for object in view.bgpPeers.all() {
            do { input.peers.append(try BGPPeer(object)) } catch { problems.append("\(error)") }
        }
        for object in view.bgpFilters.all() {
            do { input.filters[object.name] = try BGPFilter(object) } catch { problems.append("\(error)") }
        }
        input.hiddenPools = view.pools.all().filter { $0["spec"]["disableBGPExport"].bool == true }
            .compactMap { $0["spec"]["cidr"].string.flatMap { CIDR($0)?.network } }
        return (input, problems)
    }
}
