// SPDX-License-Identifier: Apache-2.0

public import Values

/// Names a kind of resource as paths of the API do: `apps/v1, deployments`.
public struct GroupVersionResource: Sendable, Hashable, CustomStringConvertible {
    /// Empty for the core group.
    public let group: String
    public let version: String
    /// The plural, in lower case.
    public let resource: String

    public init(_ group: String, _ version: String, _ resource: String) {
        self.group = group
        self.version = version
        self.resource = resource
    }

    /// `v1` or `apps/v1`.
    public var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }

    /// `pods` or `deployments.apps`, as messages of the API name it.
    public var groupResource: String { group.isEmpty ? resource : "\(resource).\(group)" }

    public var description: String { "\(apiVersion)/\(resource)" }

    /// The path of the collection or, with a name, of the object: `/api/v1/namespaces/default/pods/web`.
    public func path(namespace: String? = nil, name: String? = nil, subresource: String? = nil) -> String {
        var path = group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)"
        if let namespace { path += "/namespaces/\(namespace)" }
        path += "/\(resource)"
        if let name { path += "/\(name)" }
        if let subresource { path += "/\(subresource)" }
        return path
    }
}

/// Names a kind as objects do: `apps/v1, Deployment`.
public struct GroupVersionKind: Sendable, Hashable, CustomStringConvertible {
    public let group: String
    public let version: String
    public let kind: String

    public init(_ group: String, _ version: String, _ kind: String) {
        self.group = group
        self.version = version
        self.kind = kind
    }

    /// Splits `apps/v1`; without a slash the group is the core group.
    public init(apiVersion: String, kind: String) {
        let parts = apiVersion.split(separator: "/", maxSplits: 1)
        self.init(parts.count == 2 ? String(parts[0]) : "", String(parts.last ?? ""), kind)
    }

    public var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }
    public var description: String { "\(apiVersion), Kind=\(kind)" }
}

/// An object of the API: a JSON value with a thin view over its metadata.
public struct KubeObject: Sendable, Hashable {
    public var json: JSON

    public init(_ json: JSON) { self.json = json }

    /// A new object with a name, ready to be filled in.
    public init(
        _ resource: GroupVersionResource, kind: String, name: String, namespace: String? = nil,
        labels: [String: String] = [:]
    ) {
        json = ["apiVersion": JSON(resource.apiVersion), "kind": JSON(kind), "metadata": ["name": JSON(name)]]
        if let namespace { json["metadata"]["namespace"] = JSON(namespace) }
        if !labels.isEmpty { json["metadata"]["labels"] = JSON(labels) }
    }

    public subscript(key: String) -> JSON? {
        get { json[key] }
        set { json[key] = newValue }
    }

    public var apiVersion: String { json["apiVersion"].string ?? "" }
    public var kind: String { json["kind"].string ?? "" }
    public var groupVersionKind: GroupVersionKind { GroupVersionKind(apiVersion: apiVersion, kind: kind) }

    public var metadata: JSON? {
        get { json["metadata"] }
        set { json["metadata"] = newValue }
    }

    public var name: String { metadata["name"].string ?? "" }
    /// Nil for cluster-scoped objects.
    public var namespace: String? { metadata["namespace"].string.flatMap { $0.isEmpty ? nil : $0 } }
    public var uid: String { metadata["uid"].string ?? "" }
    public var resourceVersion: String { metadata["resourceVersion"].string ?? "" }
    public var generation: Int { metadata["generation"].int ?? 0 }
    public var labels: [String: String] { metadata["labels"].object?.strings ?? [:] }
    public var annotations: [String: String] { metadata["annotations"].object?.strings ?? [:] }
    public var finalizers: [String] { metadata["finalizers"].array?.compactMap(\.string) ?? [] }
    public var creationTimestamp: Timestamp? { metadata["creationTimestamp"].string.flatMap { Timestamp($0) } }
    public var deletionTimestamp: Timestamp? { metadata["deletionTimestamp"].string.flatMap { Timestamp($0) } }
    public var isBeingDeleted: Bool { metadata["deletionTimestamp"] != nil }

    /// `namespace/name`, or the name alone: unique among the objects of one resource.
    public var key: ObjectKey { ObjectKey(namespace, name) }

    public var ownerReferences: [OwnerReference] {
        metadata["ownerReferences"].array?.compactMap(OwnerReference.init) ?? []
    }

    /// The owner that manages the object, if any.
    public var controller: OwnerReference? { ownerReferences.first { $0.isController } }
}

/// Namespace and name of an object.
public struct ObjectKey: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let namespace: String?
    public let name: String

    public init(_ namespace: String?, _ name: String) {
        self.namespace = namespace
        self.name = name
    }

    public var description: String { namespace.map { "\($0)/\(name)" } ?? name }

    public static func < (left: ObjectKey, right: ObjectKey) -> Bool {
        (left.namespace ?? "", left.name) < (right.namespace ?? "", right.name)
    }
}

/// An entry of `metadata.ownerReferences`.
public struct OwnerReference: Sendable, Hashable {
    public var apiVersion: String
    public var kind: String
    public var name: String
    public var uid: String
    public var isController: Bool
    public var blocksOwnerDeletion: Bool

    /// Nil unless `json` names an apiVersion, a kind, a name and a uid.
    public init?(_ json: JSON) {
        guard let apiVersion = json["apiVersion"].string, let kind = json["kind"].string,
            let name = json["name"].string, let uid = json["uid"].string
        else { return nil }
        self.apiVersion = apiVersion
        self.kind = kind
        self.name = name
        self.uid = uid
        isController = json["controller"].bool ?? false
        blocksOwnerDeletion = json["blockOwnerDeletion"].bool ?? false
    }

    /// A reference to `owner` as the one that manages the object.
    public init(controller owner: KubeObject) {
        apiVersion = owner.apiVersion
        kind = owner.kind
        name = owner.name
        uid = owner.uid
        isController = true
        blocksOwnerDeletion = true
    }

    public var json: JSON {
        [
            "apiVersion": JSON(apiVersion), "kind": JSON(kind), "name": JSON(name), "uid": JSON(uid),
            "controller": JSON(isController), "blockOwnerDeletion": JSON(blocksOwnerDeletion),
        ]
    }
}

/// The resources that Catbird's own components speak of.
extension GroupVersionResource {
    public static let pods = GroupVersionResource("", "v1", "pods")
    public static let nodes = GroupVersionResource("", "v1", "nodes")
    public static let services = GroupVersionResource("", "v1", "services")
    public static let endpoints = GroupVersionResource("", "v1", "endpoints")
    public static let namespaces = GroupVersionResource("", "v1", "namespaces")
    public static let configMaps = GroupVersionResource("", "v1", "configmaps")
    public static let secrets = GroupVersionResource("", "v1", "secrets")
    public static let serviceAccounts = GroupVersionResource("", "v1", "serviceaccounts")
    public static let events = GroupVersionResource("", "v1", "events")
    public static let deployments = GroupVersionResource("apps", "v1", "deployments")
    public static let replicaSets = GroupVersionResource("apps", "v1", "replicasets")
    public static let daemonSets = GroupVersionResource("apps", "v1", "daemonsets")
    public static let endpointSlices = GroupVersionResource("discovery.k8s.io", "v1", "endpointslices")
    public static let leases = GroupVersionResource("coordination.k8s.io", "v1", "leases")
    public static let roles = GroupVersionResource("rbac.authorization.k8s.io", "v1", "roles")
    public static let roleBindings = GroupVersionResource("rbac.authorization.k8s.io", "v1", "rolebindings")
    public static let clusterRoles = GroupVersionResource("rbac.authorization.k8s.io", "v1", "clusterroles")
    public static let clusterRoleBindings = GroupVersionResource(
        "rbac.authorization.k8s.io", "v1", "clusterrolebindings")

    public static let customResourceDefinitions = GroupVersionResource(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions")
    public static let ipPools = GroupVersionResource("crd.projectcalico.org", "v1", "ippools")
    public static let ipamBlocks = GroupVersionResource("crd.projectcalico.org", "v1", "ipamblocks")
    public static let blockAffinities = GroupVersionResource("crd.projectcalico.org", "v1", "blockaffinities")
    public static let ipamHandles = GroupVersionResource("crd.projectcalico.org", "v1", "ipamhandles")
    public static let ipamConfigs = GroupVersionResource("crd.projectcalico.org", "v1", "ipamconfigs")
    public static let ipReservations = GroupVersionResource("crd.projectcalico.org", "v1", "ipreservations")
    public static let clusterInformations = GroupVersionResource("crd.projectcalico.org", "v1", "clusterinformations")
}
