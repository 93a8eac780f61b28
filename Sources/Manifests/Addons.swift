// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Values
import YAMLCoding

/// What every local cluster carries from its first start: the network, the names, the default pool.
///
/// These are ordinary manifests: on another Kubernetes `catbird manifests | kubectl apply -f -` installs the same.
public struct Addons: Sendable {
    /// The program's version, which its objects carry.
    public static let version = "v0.1.0"
    /// The label of whatever is Catbird's, as Kubernetes recommends it.
    public static let ownerLabel = "app.kubernetes.io/managed-by"
    public static let owner = "catbird"
    /// Which addon an object belongs to.
    public static let addonLabel = "catbird.dev/addon"
    /// The version of the program that wrote the object last.
    public static let versionAnnotation = "catbird.dev/version"

    public let apiHost: String
    public let apiPort: Int
    public let podCIDR: String
    public let clusterDNS: String

    /// - Parameter apiHost: where the agent reaches the API before it has made Services work.
    public init(
        apiHost: String, apiPort: Int, podCIDR: String = "10.244.0.0/16", clusterDNS: String = "10.96.0.10"
    ) {
        self.apiHost = apiHost
        self.apiPort = apiPort
        self.podCIDR = podCIDR
        self.clusterDNS = clusterDNS
    }

    /// Every manifest, in an order in which they can be created.
    ///
    /// - Throws: `YAMLError`, which would be a mistake of the template.
    public func manifests() throws -> [KubeObject] { try shipped().map(\.object) }

    /// The same with what has to be known of each when it is brought into a cluster.
    public func shipped() throws -> [ShippedObject] {
        try [("calico-node", calicoNode), ("coredns", coreDNS), ("addressing", addressing)].flatMap { addon, text in
            try YAML.documents(text).compactMap { ShippedObject(Self.marked(KubeObject($0), addon)) }
        }
    }

    /// The pod that a node's agent is here.
    func agentPod() throws -> JSON? {
        try manifests().first { $0.kind == "DaemonSet" }?["spec"]["template"]["spec"]
    }

    private static func marked(_ object: KubeObject, _ addon: String) -> KubeObject {
        var object = object
        object.metadata["labels"][ownerLabel] = JSON(owner)
        object.metadata["labels"][addonLabel] = JSON(addon)
        object.metadata["annotations"][versionAnnotation] = JSON(version)
        return object
    }

    /// Objects of earlier versions that did not carry ``ownerLabel`` and are not shipped any more.
    static let retired: [(GroupVersionResource, ObjectKey)] = [
        (.clusterRoleBindings, ObjectKey(nil, "calico-node")), (.clusterRoles, ObjectKey(nil, "calico-node")),
        (.roleBindings, ObjectKey("kube-system", "calico-node")), (.roles, ObjectKey("kube-system", "calico-node")),
    ]
}

/// One object of an addon.
public struct ShippedObject: Sendable {
    public let object: KubeObject
    public let resource: GroupVersionResource

    /// Nil for a kind that no addon has.
    public init?(_ object: KubeObject) {
        guard let resource = Self.kinds[object.kind] else { return nil }
        self.object = object
        self.resource = resource
    }

    /// Fields whose values are a beginning: ours until somebody else sets them, and theirs from then on. Written as a
    /// conflict of server-side apply names them.
    public var beginnings: Set<String> {
        switch (object.kind, object.name) {
        case ("Deployment", "coredns"):
            // The last two have one owner each, as a whole.
            [".spec.replicas", ".spec.template.spec.nodeSelector", ".spec.template.spec.tolerations"]
        case ("ConfigMap", "coredns"): [".data.Corefile"]
        // `calicoctl datastore migrate lock` writes the one, Calico's own programs the other.
        case ("ClusterInformation", _): [".spec.datastoreReady", ".spec.clusterType", ".spec.calicoVersion"]
        default: []
        }
    }

    /// Whether it comes with the first start only, and stays deleted when its user has deleted it.
    public var isForFirstStartOnly: Bool { object.kind == "IPPool" }

    /// `Deployment kube-system/coredns`.
    var title: String { "\(object.kind) \(object.key)" }

    /// Where objects of the addons' kinds are, in the order in which they are pruned: users before what they use.
    static let resources: [(String, GroupVersionResource)] = [
        ("DaemonSet", .daemonSets), ("Deployment", .deployments), ("Service", .services), ("ConfigMap", .configMaps),
        ("RoleBinding", .roleBindings), ("ClusterRoleBinding", .clusterRoleBindings), ("Role", .roles),
        ("ClusterRole", .clusterRoles), ("ServiceAccount", .serviceAccounts),
        ("ClusterInformation", .clusterInformations), ("IPPool", .ipPools),
    ]
    private static let kinds = Dictionary(resources, uniquingKeysWith: { first, _ in first })
}
