// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import KubeClient
import KubeObjects
import Linux
import Values

/// Waits, by watches, until a cluster is what its user wants: nodes Ready, names answered.
struct ClusterReadiness: Sendable {
    let profile: Profile
    let pki: ProfilePKI
    /// When it is given up, with what is in the way.
    var limit: Duration = .seconds(360)
    /// After so long a wait it is said what is waited for.
    var patience: Duration = .seconds(60)

    typealias Report = @Sendable (_ name: String, _ mark: StartStep.Mark, _ message: String) -> Void

    func wait(report: @escaping Report) async throws {
        let access = try ClusterAccess(profile: profile, pki: pki)
        let client = access.client
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await follow(client, report) }
            group.addTask { try await watchClock(report) }
            defer { group.cancelAll() }
            try await group.next()
        }
        await access.shutdown()
    }

    /// Says what is in the way when the wait is long, and ends it when it is too long.
    private func watchClock(_ report: Report) async throws {
        let clock = ContinuousClock()
        let end = clock.now + limit
        while clock.now + patience < end {
            try await Task.sleep(for: patience)
            report("waiting", .warning, "Still waiting: \(await obstacles()).")
        }
        try await Task.sleep(until: end)
        throw LocalClusterError(
            .guestTimeout,
            "\"\(profile.name)\" is not ready after \(limit.components.seconds) s: \(await obstacles()).",
            nextStep: "It goes on as it is. See what is wrong: catbird doctor -p \(profile.name)")
    }

    /// What `doctor` finds, in one line: the machine's part first, for a process that does not stay up has no node.
    private func obstacles() async -> String {
        do {
            let findings = try await LocalExamination(running: profile.name).findings()
            guard !findings.isEmpty else {
                return "DNS does not answer at \(Self.dnsAddress), and nothing is seen to be wrong"
            }
            let rest = findings.count > 3 ? ", and \(findings.count - 3) more" : ""
            return findings.prefix(3).map { "\($0.object) \($0.problem) (\($0.cause))" }.joined(separator: "; ") + rest
        } catch { return "\(error)" }
    }

    private func follow(_ client: KubeClient, _ report: @escaping Report) async throws {
        let nodes = Informer(client, .nodes)
        let slices = Informer(
            client, .endpointSlices, namespace: "kube-system", labelSelector: "kubernetes.io/service-name=kube-dns")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await nodes.run() }
            group.addTask { await slices.run() }
            var missing = Set(profile.wantedNodes.map(\.name))
            let total = missing.count
            for await batch in nodes.events() {
                for event in batch where Self.isReady(event.object) && missing.remove(event.key.name) != nil {
                    let address = profile.node(named: event.key.name)?.address.description ?? ""
                    report(
                        "nodes", .node,
                        "Node \(event.key.name) is Ready at \(address) (\(total - missing.count) of \(total))")
                }
                if missing.isEmpty { break }
            }
            if let obstacle = try await obstacle(client, until: slices) {
                report("dns", .warning, "DNS does not answer: \(obstacle.cause). Next: \(obstacle.nextStep)")
            } else {
                report("dns", .names, "DNS answers at \(Self.dnsAddress)")
            }
            group.cancelAll()
        }
        try Task.checkCancellation()
    }

    /// Waits for a DNS server that answers.
    ///
    /// - Returns: nil when there is one; or why there will be none until the user has done something: no pool gives its
    ///   pod an address. A pod that fails for a passing reason is waited for.
    private func obstacle(_ client: KubeClient, until slices: Informer) async throws -> Finding? {
        let events = Informer(client, .events, namespace: "kube-system")
        return try await withThrowingTaskGroup(of: Finding?.self) { group in
            group.addTask {
                for await batch in slices.events() where batch.contains(where: { Self.hasReadyEndpoint($0.object) }) {
                    // Of a cluster that was stopped the endpoint may be the one of its earlier life.
                    try await answersNames()
                    return nil
                }
                throw CancellationError()
            }
            group.addTask {
                async let _ = events.run()
                for await batch in events.events()
                where batch.contains(where: { Self.tellsOfNoAddress($0.object) }) {
                    let poolless = try await Examination(client: client).nodesWithoutPool()
                    if poolless.count >= profile.wantedNodes.count { return poolless.first }
                }
                throw CancellationError()
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    private static func tellsOfNoAddress(_ event: KubeObject) -> Bool {
        event["reason"].string == "FailedCreatePodSandBox"
            && (event["involvedObject"]["name"].string ?? "").hasPrefix("coredns-")
    }

    static let dnsAddress = IPAddress(10, 96, 0, 10)

    private static func isReady(_ node: KubeObject) -> Bool {
        node["status"]["conditions"].array?.contains {
            $0["type"].string == "Ready" && $0["status"].string == "True"
        } ?? false
    }

    private static func hasReadyEndpoint(_ slice: KubeObject) -> Bool {
        slice["endpoints"].array?.contains { $0["conditions"]["ready"].bool ?? true } ?? false
    }

    /// Asks for the `kubernetes` Service as a program on the first node would.
    private func answersNames() async throws {
        guard let node = profile.controlPlaneNode else { return }
        guard let namespace = NodeAccess.namespaces(of: node.name, in: profile.name).net else { return }
        try await DNSProbe(server: Self.dnsAddress, namespace: namespace).waitForAnswer(
            "kubernetes.default.svc.cluster.local")
    }
}
