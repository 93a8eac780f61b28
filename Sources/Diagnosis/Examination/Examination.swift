// SPDX-License-Identifier: Apache-2.0

public import KubeClient
import KubeObjects
import Linux
import NetworkModel
import Values

/// Looks at a cluster through its API and says what is wrong with it: one list for each kind, then what only asking
/// shows, then the judgement of all that.
public struct Examination: Sendable {
    private let client: KubeClient
    private let profile: Profile?

    /// `profile`: the local cluster that it is, whose nodes can be entered.
    public init(client: KubeClient, profile: Profile? = nil) {
        self.client = client
        self.profile = profile
    }

    public func findings() async throws -> [Finding] {
        let cluster = try await snapshot()
        return Self.findings(cluster)
    }

    /// The same of a snapshot: pure.
    public static func findings(_ cluster: ClusterSnapshot) -> [Finding] { Judgement.findings(cluster) }

    // MARK: - Looking

    /// Lists everything, counts what is written meanwhile, reads last words, and tries ports.
    public func snapshot(countingWrites: Bool = false) async throws -> ClusterSnapshot {
        let began = ContinuousClock.now
        var lists: [GroupVersionResource: ObjectList] = [:]
        try await withThrowingTaskGroup(of: (GroupVersionResource, ObjectList).self) { group in
            for kind in ClusterSnapshot.kinds { group.addTask { (kind, try await client.list(kind)) } }
            for try await (kind, list) in group { lists[kind] = list }
        }
        var cluster = ClusterSnapshot(
            lists.mapValues(\.items), stoppedNodes: profile?.stopped ?? [], profile: profile?.name.text ?? "",
            profileNodes: profile?.nodes.map(\.name))
        let index = PodIndex(cluster)
        let listed = cluster
        async let writes =
            countingWrites
            ? WriteWatch(client: client).counts(since: lists.mapValues(\.resourceVersion), began: began) : []
        async let words = lastWords(of: index.pods)
        async let listening = tryPorts(ServiceJudgement.listenersToTry(listed, index))
        cluster.writes = await writes
        cluster.lastWords = await words
        cluster.listening = await listening
        return cluster
    }

    /// More containers that end than this are of one kind, and their words say the same.
    private static let mostWords = 64

    private func lastWords(of pods: [KubeObject]) async -> [ContainerKey: String] {
        let wanted = pods.lazy.flatMap { pod in
            ContainerJudgement.silent(pod).map { (ContainerKey(pod.key, $0), Self.hasEarlierLife(pod, $0)) }
        }.prefix(Self.mostWords)
        return await withTaskGroup(of: (ContainerKey, String?).self) { group in
            for (key, isPrevious) in wanted {
                group.addTask {
                    let path = GroupVersionResource.pods.path(
                        namespace: key.pod.namespace, name: key.pod.name, subresource: "log")
                    var query = [("container", key.container), ("tailLines", "3")]
                    if isPrevious { query.append(("previous", "true")) }
                    let asked = query
                    // A node that is frozen does not answer, and the other findings do not wait for it.
                    let text = try? await Deadline.run(.seconds(3)) { try await client.text(path, query: asked) }
                    return (key, text.map { DoctorText.oneLine($0) })
                }
            }
            var result: [ContainerKey: String] = [:]
            for await (key, text) in group { result[key] = text }
            return result
        }
    }

    private static func hasEarlierLife(_ pod: KubeObject, _ container: String) -> Bool {
        pod.containerStatuses.contains { $0["name"].string == container && $0["lastState"]["terminated"] != nil }
    }

    private func tryPorts(_ places: [Listener: String]) async -> [Listener: Bool] {
        guard let profile else { return [:] }
        let byNode = Dictionary(grouping: places.keys) { places[$0] ?? "" }
        return await withTaskGroup(of: [Listener: Int32].self) { group in
            for (node, listeners) in byNode where profile.node(named: node) != nil && !profile.stopped.contains(node) {
                let namespace = NodeAccess.namespaces(of: node, in: profile.name).net
                group.addTask { await ConnectionProbe(namespace: namespace).attempt(listeners) }
            }
            var result: [Listener: Bool] = [:]
            for await part in group {
                for (place, code) in part where code == 0 || code == 111 { result[place] = code == 0 }
            }
            return result
        }
    }

    /// The nodes on which no new pod gets an address, each with the reason.
    func nodesWithoutPool() async throws -> [Finding] {
        async let nodes = client.list(.nodes).items
        async let pools = client.list(.ipPools).items
        let usable = try await pools.compactMap { try? IPPool($0) }
        return try await nodes.compactMap { PoolJudgement.withoutPool($0, usable) }
    }
}
