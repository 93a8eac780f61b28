// SPDX-License-Identifier: Apache-2.0

public import Values

/// A resource that the API serves in one version: what discovery says about it, and where its objects are kept.
public struct ResourceType: Sendable, Hashable {
    /// A path below an object, such as `status` or `scale`.
    public struct Subresource: Sendable, Hashable {
        public let name: String
        /// The kind that is sent and answered.
        public let kind: GroupVersionKind
        public let verbs: [String]
    }

    /// A column that the definition of a custom resource asks for.
    public struct PrinterColumn: Sendable, Hashable {
        public let name: String
        public let type: String
        public let jsonPath: String
        public let priority: Int
        public let description: String

        public init(_ json: JSON) {
            name = json["name"].string ?? ""
            type = json["type"].string ?? "string"
            jsonPath = json["jsonPath"].string ?? ""
            priority = json["priority"].int ?? 0
            description = json["description"].string ?? ""
        }
    }

    public let resource: GroupVersionResource
    public let kind: String
    public let singular: String
    public let shortNames: [String]
    public let categories: [String]
    public let isNamespaced: Bool
    public let verbs: [String]
    public let subresources: [Subresource]
    /// The name of the schema, such as `io.k8s.api.core.v1.Pod`.
    public let typeName: String
    /// The resource under which objects are kept: two types with one storage serve the same objects.
    public let storage: GroupVersionResource
    /// Custom resources take no strategic merge patch and no protobuf.
    public let isCustom: Bool
    public let columns: [PrinterColumn]
    /// What the definition of a custom resource says of the version; nil for what the program carries itself.
    public let custom: CustomVersion?

    public var group: String { resource.group }
    public var version: String { resource.version }
    public var apiVersion: String { resource.apiVersion }
    public var groupVersionKind: GroupVersionKind { GroupVersionKind(group, version, kind) }
    public var listKind: String { kind + "List" }
    /// `Deployment.apps`, as messages about invalid objects name it.
    public var groupKind: String { group.isEmpty ? kind : "\(kind).\(group)" }
    /// Whether objects are stored, rather than answered on the spot.
    public var isStored: Bool { verbs.contains("list") && verbs.contains("create") }

    public func subresource(_ name: String) -> Subresource? { subresources.first { $0.name == name } }

    public static func == (left: ResourceType, right: ResourceType) -> Bool { left.resource == right.resource }
    public func hash(into hasher: inout Hasher) { hasher.combine(resource) }
}

extension ResourceType {
    /// A line of `resources.jsonl`.
    init?(_ entry: JSON) {
        guard let group = entry["group"].string, let version = entry["version"].string,
            let plural = entry["resource"].string, let kind = entry["kind"].string, let type = entry["type"].string
        else { return nil }
        resource = GroupVersionResource(group, version, plural)
        self.kind = kind
        singular = entry["singular"].string ?? ""
        shortNames = entry["short"].array?.compactMap(\.string) ?? []
        categories = entry["categories"].array?.compactMap(\.string) ?? []
        isNamespaced = entry["namespaced"].bool ?? false
        verbs = entry["verbs"].array?.compactMap(\.string) ?? []
        typeName = type
        isCustom = entry["custom"].bool ?? false
        columns = entry["columns"].array?.map(PrinterColumn.init) ?? []
        custom = nil
        subresources = (entry["sub"].array ?? []).map { sub in
            let version = sub["version"].string ?? ""
            return Subresource(
                name: sub["name"].string ?? "",
                kind: GroupVersionKind(
                    version.isEmpty ? group : sub["group"].string ?? "",
                    version.isEmpty ? entry["version"].string ?? "" : version,
                    sub["kind"].string ?? ""),
                verbs: sub["verbs"].array?.compactMap(\.string) ?? [])
        }
        if let stored = entry["storage"].string {
            storage = GroupVersionResource("crd.projectcalico.org", "v1", stored)
        } else if let shared = Self.sharedStorage[resource] {
            storage = shared
        } else {
            storage = resource
        }
    }

    /// Versions of Kubernetes' own kinds that serve the objects of another.
    private static let sharedStorage: [GroupVersionResource: GroupVersionResource] = [
        GroupVersionResource("events.k8s.io", "v1", "events"): .events,
        GroupVersionResource("autoscaling", "v1", "horizontalpodautoscalers"):
            GroupVersionResource("autoscaling", "v2", "horizontalpodautoscalers"),
    ]
}
