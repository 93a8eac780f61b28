// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// What an examination judges: the objects of the API at one moment, and what was seen beside them. Judging it asks
/// nobody anything.
public struct ClusterSnapshot: Sendable {
    /// One list for each kind.
    public var objects: [GroupVersionResource: [KubeObject]]
    /// Names of the nodes that `catbird node stop` has stopped.
    public var stoppedNodes: Set<String>
    /// The local cluster's name; empty when the cluster is not one of ours.
    public var profile: String
    /// The nodes that the profile has; nil when the cluster is not one of ours.
    public var profileNodes: [String]?
    /// The last lines that a container wrote before it ended, by pod and container.
    public var lastWords: [ContainerKey: String]
    /// Whether something listens where a Service sends its connections, for the places that were tried.
    public var listening: [Listener: Bool]
    /// When the nodes' processes were started: what ended then was ended by the node's stop.
    public var nodeStarts: [String: Timestamp]
    /// How often an object was written during the examination, for those that were written often.
    public var writes: [WriteCount]
    /// Whether the cluster is none of this machine's: then what is beyond its API is not known, and next steps are
    /// kubectl's.
    public var isForeign = false
    /// Kinds that could not be listed, each with the reason; what hangs on them is not judged.
    public var unseen: [GroupVersionResource: String] = [:]
    public var now: Timestamp

    public init(
        _ objects: [GroupVersionResource: [KubeObject]] = [:], stoppedNodes: Set<String> = [], profile: String = "",
        profileNodes: [String]? = nil, now: Timestamp = .now
    ) {
        self.objects = objects
        self.stoppedNodes = stoppedNodes
        self.profile = profile
        self.profileNodes = profileNodes
        self.now = now
        lastWords = [:]
        listening = [:]
        nodeStarts = [:]
        writes = []
    }

    public subscript(_ resource: GroupVersionResource) -> [KubeObject] { objects[resource] ?? [] }

    var pods: [KubeObject] { self[.pods] }
    var nodes: [KubeObject] { self[.nodes] }

    /// The kinds that are listed.
    package static let kinds: [GroupVersionResource] = [
        .pods, .nodes, .services, .ipPools, .events, .namespaces, .configMaps, .secrets, .deployments, .replicaSets,
        .daemonSets, .statefulSets, .jobs, .cronJobs, .persistentVolumeClaims, .ingresses, .ingressClasses,
        .networkPolicies, .horizontalPodAutoscalers, .persistentVolumes, .validatingWebhookConfigurations,
        .mutatingWebhookConfigurations,
    ]
}

/// A container of a pod.
public struct ContainerKey: Sendable, Hashable {
    public let pod: ObjectKey
    public let container: String

    public init(_ pod: ObjectKey, _ container: String) {
        self.pod = pod
        self.container = container
    }
}

/// A place to which connections are sent.
public struct Listener: Sendable, Hashable {
    public let address: String
    public let port: Int

    public init(address: String, port: Int) {
        self.address = address
        self.port = port
    }
}

/// How often one object was written while it was watched.
public struct WriteCount: Sendable, Hashable {
    public let kind: String
    public let key: ObjectKey
    public let count: Int
    public let seconds: Double
    /// Who wrote last, as the object's managed fields name it.
    public let writer: String?

    public init(kind: String, key: ObjectKey, count: Int, seconds: Double, writer: String?) {
        self.kind = kind
        self.key = key
        self.count = count
        self.seconds = seconds
        self.writer = writer
    }
}

/// Kinds that only an examination lists.
extension GroupVersionResource {
    static let statefulSets = GroupVersionResource("apps", "v1", "statefulsets")
    static let jobs = GroupVersionResource("batch", "v1", "jobs")
    static let cronJobs = GroupVersionResource("batch", "v1", "cronjobs")
    static let persistentVolumeClaims = GroupVersionResource("", "v1", "persistentvolumeclaims")
    static let persistentVolumes = GroupVersionResource("", "v1", "persistentvolumes")
    static let validatingWebhookConfigurations = GroupVersionResource(
        "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
    static let mutatingWebhookConfigurations = GroupVersionResource(
        "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")
    static let ingresses = GroupVersionResource("networking.k8s.io", "v1", "ingresses")
    static let ingressClasses = GroupVersionResource("networking.k8s.io", "v1", "ingressclasses")
    static let networkPolicies = GroupVersionResource("networking.k8s.io", "v1", "networkpolicies")
    static let horizontalPodAutoscalers = GroupVersionResource("autoscaling", "v2", "horizontalpodautoscalers")
}
