// SPDX-License-Identifier: Apache-2.0

public import Diagnosis
import Glibc
import KubeClient
import KubeObjects
import Linux
import Values

/// Looks at a local cluster: at the machine, at what its API tells, at the names, and at what other sources know.
public struct LocalExamination: Sendable {
    private let profile: Profile
    private let paths: ProfilePaths
    private let sources: [any FindingSource]

    /// - Throws: `LocalClusterError` when there is no such profile, or when it does not run because nobody wants it to.
    public init(running name: ProfileName, sources: [any FindingSource] = []) throws {
        let store = ProfileStore()
        profile = try store.load(name)
        paths = store.paths(name)
        self.sources = sources
        // `stop` takes the folder away; a cluster that has one and does not run is one that died.
        guard store.isRunning(name) || Files.exists(paths.run) else {
            throw LocalClusterError(
                .guestNotRunning, "Profile \"\(name)\" is not running.", nextStep: "Start it: catbird start -p \(name)")
        }
    }

    /// What is wrong; empty when nothing is.
    public func findings() async -> [Finding] {
        let facts = await MachineFacts.gather(profile, paths)
        let machine = MachineJudgement.findings(facts)
        let access: ClusterAccess
        do { access = try ClusterAccess(profile: profile, pki: ProfilePKI(paths: paths)) } catch {
            return machine + ReachabilityJudgement.findings(.failed("\(error)"), facts, machine: machine)
        }
        let answer = await ask(access.client, facts)
        var result = machine + ReachabilityJudgement.findings(answer, facts, machine: machine)
        let client = answer == .ready ? access.client : nil
        result += await KernelExamination(profile: profile, paths: paths, client: client).findings()
        if answer == .ready {
            do { result += try await objects(access.client, facts) } catch {
                result.append(
                    Finding(
                        "APIFailed", object: "api \(facts.server)", problem: "does not list its objects",
                        cause: "\(error)", nextStep: "catbird logs -p \(profile.name)"))
            }
        }
        await access.shutdown()
        return result
    }

    private func objects(_ client: KubeClient, _ facts: MachineFacts) async throws -> [Finding] {
        var local = LocalKnowledge(of: profile)
        for process in facts.processes where process.name.hasPrefix("node-") {
            local.nodeStarts[String(process.name.dropFirst("node-".count))] = process.startedAt
        }
        let examination = Examination(client: client, local: local)
        async let found = examination.snapshot(countingWrites: true)
        async let service = answersOfService()
        let cluster = try await found
        var result = Judgement.findings(cluster)
        var observation = await service
        if observation.answers.values.contains(false) {
            observation.directAnswers = await answersOfPod(cluster, observation.answers)
        }
        result += DNSJudgement.findings(observation, others: result, profile: profile.name.text)
        for source in sources { result += await source.findings(in: cluster) }
        return result
    }

    // MARK: - Asking

    private func ask(_ client: KubeClient, _ facts: MachineFacts) async -> APIAnswer {
        // Who is suspended takes connections all the same, and never answers.
        let control = facts.processes.first { $0.name == "controlplane" }
        if let control, control.state == .suspended { return .silent }
        do {
            _ = try await Deadline.run(.seconds(5)) { try await client.text("/readyz") }
            return .ready
        } catch let error as APIError {
            return .refused(status: error.code, text: error.message)
        } catch {
            return await connection(error)
        }
    }

    /// Whether it was the connection that failed, or what came after it.
    private func connection(_ error: any Error) async -> APIAnswer {
        guard let address = profile.controlPlaneNode?.address else { return .failed("\(error)") }
        let place = Listener(address: address.description, port: Profile.apiPort)
        let code = await ConnectionProbe(namespace: nil, patience: .seconds(1)).attempt([place])[place]
        switch code {
        case 0?: return error is Deadline.Passed ? .silent : .failed("\(error)")
        case let code?: return .connection(code)
        case nil: return .connection(ETIMEDOUT)
        }
    }

    /// Asks the name server as pods on each node would.
    private func answersOfService() async -> DNSObservation {
        let server = ClusterReadiness.dnsAddress
        let answers = await ask(server, from: profile.wantedNodes.map(\.name))
        return DNSObservation(server: server, answers: answers)
    }

    /// Asks a server that is Ready at its own address, from the nodes that got no answer from the Service's.
    private func answersOfPod(_ cluster: ClusterSnapshot, _ answers: [String: Bool]) async -> [String: Bool] {
        let servers = cluster[.pods].filter {
            $0.namespace == "kube-system" && $0.labels["k8s-app"] == "kube-dns" && $0.isReady
        }
        guard let address = servers.first?["status"]["podIP"].string.flatMap({ IPAddress($0) }), address.family == .v4
        else { return [:] }
        return await ask(address, from: answers.filter { !$0.value }.keys.sorted())
    }

    private func ask(_ server: IPAddress, from nodes: [String]) async -> [String: Bool] {
        await withTaskGroup(of: (String, Bool?).self) { group in
            for node in nodes {
                guard let namespace = NodeAccess.namespaces(of: node, in: profile.name).net else { continue }
                group.addTask {
                    let probe = DNSProbe(server: server, namespace: namespace)
                    return (node, try? await probe.answers("kubernetes.default.svc.cluster.local"))
                }
            }
            var result: [String: Bool] = [:]
            // A node whose namespace cannot be entered is away, which is said elsewhere.
            for await (node, answers) in group { result[node] = answers }
            return result
        }
    }
}

extension LocalKnowledge {
    /// What this machine knows of a profile.
    public init(of profile: Profile) {
        let name = profile.name
        self.init(
            profile: name.text, nodes: profile.nodes.map(\.name), stoppedNodes: profile.stopped,
            tryListeners: { node, listeners in
                let namespace = NodeAccess.namespaces(of: node, in: name).net
                let codes = await ConnectionProbe(namespace: namespace).attempt(listeners)
                return codes.filter { $0.value == 0 || $0.value == ECONNREFUSED }.mapValues { $0 == 0 }
            })
    }
}
