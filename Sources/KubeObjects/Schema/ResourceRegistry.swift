// SPDX-License-Identifier: Apache-2.0

import CSchemas
import Synchronization
public import Values

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
    /// The registry that this one extends, and the types that it adds, by the names of their schemas.
    private let base: ResourceRegistry?
    private let added: [String: ResourceType]

    /// `base` with resources that users have defined. What the base serves itself stays as it is.
    public init(extending base: ResourceRegistry, with custom: [ResourceType]) {
        let new = custom.filter { base.byResource[$0.resource] == nil && base.byKind[$0.groupVersionKind] == nil }
        self.base = base
        types = base.types
        customTypes = base.customTypes
        added = Dictionary(new.map { ($0.typeName, $0) }, uniquingKeysWith: { first, _ in first })
        var groups = base.groups
        for type in new.sorted(by: { ($0.group, $0.version) < ($1.group, $1.version) }) {
            if let index = groups.firstIndex(where: { $0.name == type.group }) {
                if !groups[index].versions.contains(type.version) {
                    let versions = groups[index].versions + [type.version]
                    groups[index] = Group(
                        name: type.group, versions: versions.sorted { VersionOrder($0) < VersionOrder($1) })
                }
            } else {
                groups.append(Group(name: type.group, versions: [type.version]))
            }
        }
        self.groups = groups
        resources = base.resources + new.sorted { $0.resource.resource < $1.resource.resource }
        byResource = base.byResource.merging(new.map { ($0.resource, $0) }, uniquingKeysWith: { first, _ in first })
        byKind = base.byKind.merging(new.map { ($0.groupVersionKind, $0) }, uniquingKeysWith: { first, _ in first })
    }

    private init() {
        base = nil
        added = [:]
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
        if let base { return added[name]?.custom?.schema ?? base.schema(named: name) }
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

    public func schema(of type: ResourceType) -> Schema? { type.custom?.schema ?? schema(named: type.typeName) }

    /// The types that this registry has besides those that the program carries.
    var addedTypes: [ResourceType] { Array(added.values) }

    /// The schema of a kind, resource or not: `autoscaling/v1, Scale`.
    public func schema(forKind kind: GroupVersionKind) -> Schema? {
        if let type = byKind[kind] { return schema(of: type) }
        return Self.otherKinds[kind].flatMap { schema(named: $0) }
    }

    /// The name of the schema of a kind, resource or not; nil for kinds without one.
    func typeName(ofKind kind: GroupVersionKind) -> String? { byKind[kind]?.typeName ?? Self.otherKinds[kind] }

    /// Follows a reference to a named type; other schemas are their own answer.
    public func resolve(_ schema: Schema) -> Schema {
        if case .reference(let name) = schema.shape { self.schema(named: name) ?? Schema(.any) } else { schema }
    }

    /// Names of the types of Kubernetes' own kinds, and of what they lead to.
    var typeNames: [String] { types.names }

    /// The OpenAPI schema of a custom resource; nil for Kubernetes' own kinds.
    public func openAPI(of type: ResourceType) -> JSON? { customTypeEntry(type.typeName) }

    /// Whether the program carries the schema itself, rather than a definition in the store.
    func isCarried(_ name: String) -> Bool { types.contains(name) || customTypes.contains(name) }

    /// The raw entry of a type of Kubernetes' own kinds, or the OpenAPI schema of a custom one.
    func typeEntry(_ name: String) -> JSON? { types.value(name) }
    func customTypeEntry(_ name: String) -> JSON? { added[name]?.custom?.openAPI ?? customTypes.value(name) }

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
