// SPDX-License-Identifier: Apache-2.0

import CSchemas
import Synchronization
import Values

/// Every resource the API serves and the schemas of their types.
///
/// The list of resources is read when the registry is made; a type is parsed when it is first asked for.
public final class ResourceRegistry: Sendable {
    /// The resources of Kubernetes and Calico that the program carries.
    public static let shared = ResourceRegistry()

    static let objectMetaType = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

    /// In the order of discovery: by group, then preferred version first, then name.
    public let resources: [ResourceType]
    /// The groups with their versions, the preferred one first.
    public let groups: [Group]

    public struct Group: Sendable, Hashable {
        public let name: String
        public let versions: [String]
        public var preferredVersion: String { versions.first ?? "" }
    }

    private let byResource: [GroupVersionResource: ResourceType]
    private let byKind: [GroupVersionKind: ResourceType]
    private let types: DataFile
    private let customTypes: DataFile
    private let parsed = Mutex<[String: Schema]>([:])

    private init() {
        types = DataFile(catbird_types())
        customTypes = DataFile(catbird_calico())
        let listed = DataFile.values(catbird_resources()).compactMap(ResourceType.init)
        var versions: [String: [String]] = [:]
        var order: [String] = []
        for type in listed {
            if versions[type.group] == nil { order.append(type.group) }
            if !versions[type.group, default: []].contains(type.version) {
                versions[type.group, default: []].append(type.version)
            }
        }
        groups = order.map { Group(name: $0, versions: versions[$0] ?? []) }
        resources = listed
        byResource = Dictionary(listed.map { ($0.resource, $0) }, uniquingKeysWith: { first, _ in first })
        byKind = Dictionary(listed.map { ($0.groupVersionKind, $0) }, uniquingKeysWith: { first, _ in first })
    }

    public func resource(_ resource: GroupVersionResource) -> ResourceType? { byResource[resource] }

    public func resource(forKind kind: GroupVersionKind) -> ResourceType? { byKind[kind] }

    public func resources(group: String, version: String) -> [ResourceType] {
        resources.filter { $0.group == group && $0.version == version }
    }

    /// Nil for a name that no type has.
    public func schema(named name: String) -> Schema? {
        if let schema = parsed.withLock({ $0[name] }) { return schema }
        let schema: Schema
        if let entry = types.value(name) {
            schema = Schema(typeEntry: entry)
        } else if let openAPI = customTypes.value(name) {
            schema = Schema(openAPI: openAPI, isRoot: true)
        } else {
            return nil
        }
        return parsed.withLock { cache in
            if let earlier = cache[name] { return earlier }
            cache[name] = schema
            return schema
        }
    }

    public func schema(of type: ResourceType) -> Schema? { schema(named: type.typeName) }

    /// The schema of a kind, resource or not: `autoscaling/v1, Scale`.
    public func schema(forKind kind: GroupVersionKind) -> Schema? {
        if let type = byKind[kind] { return schema(of: type) }
        return Self.otherKinds[kind].flatMap { schema(named: $0) }
    }

    /// Follows a reference to a named type; other schemas are their own answer.
    public func resolve(_ schema: Schema) -> Schema {
        if case .reference(let name) = schema.shape { self.schema(named: name) ?? Schema(.any) } else { schema }
    }

    /// Names of the types of Kubernetes' own kinds, and of what they lead to.
    var typeNames: [String] { types.names }

    /// The raw entry of a type of Kubernetes' own kinds, or the OpenAPI schema of a custom one.
    func typeEntry(_ name: String) -> JSON? { types.value(name) }
    func customTypeEntry(_ name: String) -> JSON? { customTypes.value(name) }

    /// Kinds that bodies have without being resources of their own.
    static let otherKinds: [GroupVersionKind: String] = [
        GroupVersionKind("autoscaling", "v1", "Scale"): "io.k8s.api.autoscaling.v1.Scale",
        GroupVersionKind("policy", "v1", "Eviction"): "io.k8s.api.policy.v1.Eviction",
        GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest"): "io.k8s.api.authentication.v1.TokenRequest",
        GroupVersionKind("", "v1", "Binding"): "io.k8s.api.core.v1.Binding",
        GroupVersionKind("", "v1", "Status"): "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
        GroupVersionKind("", "v1", "DeleteOptions"): "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
        GroupVersionKind("meta.k8s.io", "v1", "DeleteOptions"): "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    ]
}
