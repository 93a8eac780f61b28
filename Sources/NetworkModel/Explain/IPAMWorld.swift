// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// Everything that questions about addresses are answered from: the IPAM objects, and those who use the addresses.
public struct IPAMWorld: Sendable {
    /// With the claims of all nodes.
    public var snapshot: IPAMSnapshot
    public var handles: [IPAMHandle]
    public var pods: [ObjectKey: PodUse]
    /// Labels and annotations by namespace.
    public var namespaces: [String: KubeObject]
    /// The `metadata.annotations` of every node, for the tunnel addresses in them.
    public var nodeAnnotations: [String: [String: String]]
    /// Objects that could not be read.
    public var problems: [IPAMObjectProblem]
    /// ClusterInformation says `datastoreReady: false`: nothing may be written.
    public var isLocked: Bool

    public init(
        snapshot: IPAMSnapshot = IPAMSnapshot(), handles: [IPAMHandle] = [], pods: [PodUse] = [],
        namespaces: [KubeObject] = [], nodeAnnotations: [String: [String: String]] = [:],
        problems: [IPAMObjectProblem] = [], isLocked: Bool = false
    ) {
        self.snapshot = snapshot
        self.handles = handles
        self.pods = Dictionary(pods.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        self.namespaces = Dictionary(namespaces.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        self.nodeAnnotations = nodeAnnotations
        self.problems = problems
        self.isLocked = isLocked
    }

    /// The request that the pod's start makes, for `catbird explain`.
    public func request(for pod: PodUse) throws(AddressRequest.PoolChoice.Malformed) -> AddressRequest {
        let namespace = pod.key.namespace ?? ""
        let space = namespaces[namespace]
        var request = AddressRequest(
            node: pod.node ?? "", use: .workload, handleID: "explain",
            values: ["pod": pod.key.name, "namespace": namespace, "node": pod.node ?? ""],
            subject: "pod \(pod.key)", namespace: namespace, namespaceLabels: space?.labels ?? [:])
        request.namespaceLabels["projectcalico.org/name"] = namespace
        for family in [IPFamily.v4, .v6] {
            request.choices[family] = try AddressRequest.PoolChoice(
                podName: pod.key.name, podAnnotations: pod.annotations, namespace: namespace,
                namespaceAnnotations: space?.annotations ?? [:], family: family)
        }
        request.families =
            try AddressRequest.families(
                podName: pod.key.name, podAnnotations: pod.annotations, namespace: namespace,
                namespaceAnnotations: space?.annotations ?? [:])
            ?? (pod.addresses.isEmpty
                ? [.v4] : [IPFamily.v4, .v6].filter { f in pod.addresses.contains { $0.family == f } })
        if let text = pod.annotations[CalicoKeys.ipAddresses], let list = (try? JSON(parsing: text))?.array {
            request.explicit = list.compactMap { $0.string.flatMap { IPAddress($0) } }
        }
        return request
    }
}

/// What of a pod matters to its addresses.
public struct PodUse: Sendable, Hashable {
    public var key: ObjectKey
    public var node: String?
    /// As its status, or else its annotations, report them.
    public var addresses: [IPAddress]
    /// Addresses of further networks (`k8s.v1.cni.cncf.io/network-status`).
    public var otherAddresses: [IPAddress]
    public var isFinished: Bool
    public var isEvicted: Bool
    /// It uses the node's network and has no address of its own.
    public var isHostNetwork: Bool
    public var annotations: [String: String]
    /// The kind of its controller, nil for a pod that nobody would make again.
    public var controller: String?

    public init(
        _ key: ObjectKey, node: String?, addresses: [IPAddress] = [], isFinished: Bool = false,
        annotations: [String: String] = [:], controller: String? = nil
    ) {
        self.key = key
        self.node = node
        self.addresses = addresses
        otherAddresses = []
        self.isFinished = isFinished
        isEvicted = false
        isHostNetwork = false
        self.annotations = annotations
        self.controller = controller
    }

    public init(_ pod: KubeObject) {
        key = pod.key
        node = pod["spec"]["nodeName"].string.flatMap { $0.isEmpty ? nil : $0 }
        annotations = pod.annotations
        let status = pod["status"]
        var texts = (status["podIPs"].array ?? []).compactMap { $0["ip"].string }
        if texts.isEmpty, let text = status["podIP"].string, !text.isEmpty { texts = [text] }
        if texts.isEmpty, let text = annotations[CalicoKeys.podIPs], !text.isEmpty {
            texts = text.split(separator: ",").map(String.init)
        }
        if texts.isEmpty, let text = annotations[CalicoKeys.podIP], !text.isEmpty { texts = [text] }
        addresses = texts.compactMap { IPAddress($0) ?? CIDR($0)?.address }
        let networks = annotations["k8s.v1.cni.cncf.io/network-status"].flatMap { try? JSON(parsing: $0) }
        otherAddresses = (networks?.array ?? []).flatMap { $0["ips"].array ?? [] }
            .compactMap { $0.string.flatMap { IPAddress($0) } }
        let phase = status["phase"].string ?? ""
        isFinished = phase == "Succeeded" || phase == "Failed"
        isEvicted = phase == "Failed" && status["reason"].string == "Evicted"
        isHostNetwork = pod["spec"]["hostNetwork"].bool ?? false
        controller = pod.controller?.kind
    }
}
