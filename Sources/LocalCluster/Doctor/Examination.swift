// SPDX-License-Identifier: Apache-2.0

public import KubeClient
public import KubeObjects
import NetworkModel
import Values

/// Looks at a cluster and says what is wrong with it.
public struct Examination: Sendable {
    private let client: KubeClient
    private let stoppedNodes: Set<String>

    /// `stoppedNodes`: those that `catbird node stop` has stopped, which the API learns only after its grace.
    public init(client: KubeClient, stoppedNodes: Set<String> = []) {
        self.client = client
        self.stoppedNodes = stoppedNodes
    }

    public func findings() async throws -> [Finding] {
        async let pods = client.list(.pods).items
        async let nodes = client.list(.nodes).items
        async let services = client.list(.services).items
        async let pools = client.list(.ipPools).items
        async let events = client.list(.events).items
        return try await Self.findings(
            ClusterSnapshot(
                pods: pods, nodes: nodes, services: services, pools: pools, events: events, stoppedNodes: stoppedNodes))
    }

    /// The same of a snapshot: pure.
    public static func findings(_ cluster: ClusterSnapshot) -> [Finding] {
        cluster.nodes.compactMap { notReady($0, cluster.stoppedNodes) } + poolFindings(cluster) + podFindings(cluster)
            + cluster.services.compactMap { selectsNothing($0, cluster.pods) }
    }

    // MARK: - Nodes and pools

    private static func notReady(_ node: KubeObject, _ stopped: Set<String>) -> Finding? {
        if stopped.contains(node.name) {
            return Finding(
                object: "node \(node.name)", problem: "is stopped", cause: "catbird node stop has stopped it",
                nextStep: "catbird node start \(node.name)")
        }
        let ready = node["status"]["conditions"].array?.first { $0["type"].string == "Ready" }
        guard ready["status"].string != "True" else { return nil }
        let reason = ready["message"].string ?? "the node has never reported"
        return Finding(
            object: "node \(node.name)", problem: "is not Ready", cause: reason,
            nextStep: ready["status"].string == "Unknown"
                ? "catbird node start \(node.name)" : "kubectl describe node \(node.name)")
    }

    /// The nodes on which no new pod gets an address, each with the reason.
    func nodesWithoutPool() async throws -> [Finding] {
        async let nodes = client.list(.nodes).items
        async let pools = client.list(.ipPools).items
        let usable = try await pools.compactMap { try? IPPool($0) }
        return try await nodes.compactMap { Self.withoutPool($0, usable) }
    }

    private static func poolFindings(_ cluster: ClusterSnapshot) -> [Finding] {
        var result: [Finding] = []
        var usable: [IPPool] = []
        for object in cluster.pools {
            guard let pool = try? IPPool(object) else {
                result.append(
                    Finding(
                        object: "ippool \(object.name)", problem: "cannot be read",
                        cause: "its cidr or a selector is invalid",
                        nextStep: "calicoctl get ippool \(object.name) -o yaml"))
                continue
            }
            usable.append(pool)
            let matching = cluster.nodes.filter { pool.nodeSelector.matches($0.labels) }
            if matching.isEmpty, !pool.isDisabled {
                let labels = Set(pool.nodeSelector.labels)
                let seen = cluster.nodes.map { node in
                    let values = labels.sorted().map { "\($0)=\(node.labels[$0] ?? "(absent)")" }
                    return "\(node.name) has \(values.joined(separator: ", "))"
                }
                result.append(
                    Finding(
                        object: "ippool \(pool.name)", problem: "matches no node",
                        cause: "its nodeSelector is \(pool.nodeSelector); \(seen.joined(separator: "; "))",
                        nextStep: "kubectl label nodes NODE \(labels.sorted().first ?? "KEY")=VALUE"))
            }
        }
        return result + cluster.nodes.compactMap { withoutPool($0, usable) }
    }

    private static func withoutPool(_ node: KubeObject, _ usable: [IPPool]) -> Finding? {
        guard !usable.contains(where: { !$0.isDisabled && $0.isAutomatic && $0.nodeSelector.matches(node.labels) })
        else { return nil }
        let why =
            usable.isEmpty
            ? "there is no IP pool"
            : usable.map { pool in
                pool.isDisabled
                    ? "\(pool.name) is disabled"
                    : "\(pool.name) wants \(pool.nodeSelector), and \(pool.nodeSelector.facts(about: node.labels))"
            }.joined(separator: "; ")
        return Finding(
            object: "node \(node.name)", problem: "is matched by no IP pool: new pods on it get no address",
            cause: why,
            nextStep: usable.isEmpty
                ? "calicoctl create -f POOL.yaml"
                : "kubectl label nodes \(node.name) KEY=VALUE, as a pool's nodeSelector wants it")
    }

    // MARK: - Pods

    private static func podFindings(_ cluster: ClusterSnapshot) -> [Finding] {
        cluster.pods.flatMap { pod -> [Finding] in
            let name = "pod \(pod.key)"
            var result = imageFindings(pod, name, cluster.events)
            let isScheduled = pod["spec"]["nodeName"].string != nil
            let finished = ["Succeeded", "Failed"].contains(pod["status"]["phase"].string ?? "")
            if isScheduled, !finished, pod["status"]["podIP"].string == nil, pod["spec"]["hostNetwork"].bool != true,
                let event = latest(cluster.events, of: pod, reason: "FailedCreatePodSandBox")
            {
                result.append(
                    Finding(
                        object: name, problem: "has no address", cause: event,
                        nextStep: "catbird calicoctl get ippools -o wide; kubectl get nodes --show-labels"))
            }
            if !isScheduled, let message = condition(pod, "PodScheduled", status: "False") {
                result.append(
                    Finding(
                        object: name, problem: "is not scheduled", cause: message,
                        nextStep: "kubectl describe pod \(pod.name) -n \(pod.namespace ?? "default")"))
            }
            return result
        }
    }

    private static func condition(_ object: KubeObject, _ type: String, status: String) -> String? {
        object["status"]["conditions"].array?.first { $0["type"].string == type && $0["status"].string == status }
            .flatMap { $0["message"].string }
    }

    private static func latest(_ events: [KubeObject], of object: KubeObject, reason: String) -> String? {
        events.filter { $0["reason"].string == reason && $0["involvedObject"]["uid"].string == object.uid }
            .max { ($0["lastTimestamp"].string ?? "") < ($1["lastTimestamp"].string ?? "") }
            .flatMap { $0["message"].string }
    }

    private static func imageFindings(_ pod: KubeObject, _ name: String, _ events: [KubeObject]) -> [Finding] {
        let statuses =
            (pod["status"]["initContainerStatuses"].array ?? []) + (pod["status"]["containerStatuses"].array ?? [])
        return statuses.compactMap { status in
            let waiting = status["state"]["waiting"]
            let reasons = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"]
            guard let reason = waiting["reason"].string, reasons.contains(reason) else { return nil }
            let image = status["image"].string ?? ""
            let container = status["name"].string ?? ""
            // The waiting message of a back-off does not repeat the failure; the event does.
            let failure = events.filter {
                $0["reason"].string == "Failed" && $0["involvedObject"]["uid"].string == pod.uid
                    && ($0["message"].string?.hasPrefix("Failed to pull image") ?? false)
            }.max { ($0["lastTimestamp"].string ?? "") < ($1["lastTimestamp"].string ?? "") }
            let cause = failure.flatMap { $0["message"].string } ?? waiting["message"].string ?? reason
            return Finding(
                object: "\(name), container \(container)", problem: "cannot get its image \(image) (\(reason))",
                cause: cause, nextStep: "catbird image pull \(image), or catbird image load ARCHIVE.tar")
        }
    }

    // MARK: - Services

    private static func selectsNothing(_ service: KubeObject, _ pods: [KubeObject]) -> Finding? {
        guard let selector = service["spec"]["selector"].object?.strings, !selector.isEmpty,
            service["spec"]["type"].string != "ExternalName"
        else { return nil }
        let own = pods.filter { $0.namespace == service.namespace }
        let selected = own.contains { pod in selector.allSatisfy { pod.labels[$0.key] == $0.value } }
        guard !selected else { return nil }
        let wanted = selector.sorted { $0.key < $1.key }
        let text = wanted.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        let labels = own.map(\.labels)
        let missing = wanted.filter { key, value in !labels.contains { $0[key] == value } }
        let hints = missing.compactMap { key, value in
            NearestLabels.nearest(to: key, value, among: labels).map { found, count in
                "nearest to \(key)=\(value) is \(found), which \(count) pod\(count == 1 ? " has" : "s have")"
            }
        }
        let cause =
            hints.isEmpty
            ? "no pod in namespace \(service.namespace ?? "default") carries \(text)" : hints.joined(separator: "; ")
        let patch = missing.compactMap { key, value in NearestLabels.nearest(to: key, value, among: labels)?.0 }.first
        let next =
            patch.map { found -> String in
                let parts = found.split(separator: "=", maxSplits: 1).map(String.init)
                let change: JSON = ["spec": ["selector": JSON([parts[0]: parts.count > 1 ? parts[1] : ""])]]
                return "kubectl patch service \(service.name) -n \(service.namespace ?? "default") -p '\(change)'"
            } ?? "kubectl get pods -n \(service.namespace ?? "default") --show-labels"
        return Finding(
            object: "service \(service.key)", problem: "selects no pod (selector \(text))", cause: cause, nextStep: next
        )
    }
}

/// The objects that an examination looks at.
public struct ClusterSnapshot: Sendable {
    public var pods: [KubeObject]
    public var nodes: [KubeObject]
    public var services: [KubeObject]
    public var pools: [KubeObject]
    public var events: [KubeObject]
    /// Names of the nodes that `catbird node stop` has stopped.
    public var stoppedNodes: Set<String>

    public init(
        pods: [KubeObject] = [], nodes: [KubeObject] = [], services: [KubeObject] = [], pools: [KubeObject] = [],
        events: [KubeObject] = [], stoppedNodes: Set<String> = []
    ) {
        self.pods = pods
        self.nodes = nodes
        self.services = services
        self.pools = pools
        self.events = events
        self.stoppedNodes = stoppedNodes
    }
}
