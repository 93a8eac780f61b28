// SPDX-License-Identifier: Apache-2.0

public import KubeClient
import KubeObjects
import NetworkModel
public import Values

/// What only the machine knows that a local cluster runs on: the one door through which an examination hears of it.
public struct LocalKnowledge: Sendable {
    /// The profile's name.
    public var profile: String
    /// The nodes that it has, and those of them that `catbird node stop` has stopped.
    public var nodes: [String]
    public var stoppedNodes: Set<String>
    /// When the nodes' processes were started.
    public var nodeStarts: [String: Timestamp]
    /// Tries to connect from a node; of a place that neither takes nor refuses connections nothing is said.
    public var tryListeners: @Sendable (_ node: String, [Listener]) async -> [Listener: Bool]

    public init(
        profile: String, nodes: [String], stoppedNodes: Set<String> = [], nodeStarts: [String: Timestamp] = [:],
        tryListeners: @escaping @Sendable (_ node: String, [Listener]) async -> [Listener: Bool]
    ) {
        self.profile = profile
        self.nodes = nodes
        self.stoppedNodes = stoppedNodes
        self.nodeStarts = nodeStarts
        self.tryListeners = tryListeners
    }
}

/// Looks at a cluster through its API and says what is wrong with it: one list for each kind, then what only asking
/// shows, then the judgement of all that. It knows of no machine: of a local cluster it is told (``LocalKnowledge``).
public struct Examination: Sendable {
    private let client: KubeClient
    private let local: LocalKnowledge?

    /// - Parameter local: nil when the cluster is none of this machine's.
    public init(client: KubeClient, local: LocalKnowledge? = nil) {
        self.client = client
        self.local = local
    }

    /// What an examination of a cluster that is none of this machine's leaves out.
    public static let leftOutElsewhere =
        "processes, disks and certificates of the control plane, the kernel's network on nodes, whether names are "
        + "answered there, and whether something listens behind Services: only the cluster's own machine knows"

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
        var unseen: [GroupVersionResource: String] = [:]
        try await withThrowingTaskGroup(of: (GroupVersionResource, Result<ObjectList, APIError>).self) { group in
            for kind in ClusterSnapshot.kinds { group.addTask { (kind, try await list(kind)) } }
            for try await (kind, answer) in group {
                switch answer {
                case .success(let list): lists[kind] = list
                case .failure(let error): unseen[kind] = error.message
                }
            }
        }
        var cluster = ClusterSnapshot(
            lists.mapValues(\.items), stoppedNodes: local?.stoppedNodes ?? [], profile: local?.profile ?? "",
            profileNodes: local?.nodes)
        cluster.isForeign = local == nil
        cluster.unseen = unseen
        cluster.nodeStarts = local?.nodeStarts ?? [:]
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

    /// A kind that a cluster does not serve (404), or that may not be read (403), keeps nothing else from being judged.
    private func list(_ kind: GroupVersionResource) async throws -> Result<ObjectList, APIError> {
        do { return .success(try await client.list(kind)) } catch let error as APIError
            where error.isNotFound || error.isForbidden
        { return .failure(error) }
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
        guard let local else { return [:] }
        let nodes = Set(local.nodes).subtracting(local.stoppedNodes)
        let byNode = Dictionary(grouping: places.keys) { places[$0] ?? "" }
        return await withTaskGroup(of: [Listener: Bool].self) { group in
            for (node, listeners) in byNode where nodes.contains(node) {
                group.addTask { await local.tryListeners(node, listeners) }
            }
            return await group.reduce(into: [:]) { $0.merge($1) { first, _ in first } }
        }
    }

    /// The nodes on which no new pod gets an address, each with the reason.
    package func nodesWithoutPool() async throws -> [Finding] {
        async let nodes = client.list(.nodes).items
        async let pools = client.list(.ipPools).items
        let usable = try await pools.compactMap { try? IPPool($0) }
        return try await nodes.compactMap { PoolJudgement.withoutPool($0, usable) }
    }
}
