// SPDX-License-Identifier: Apache-2.0

import Values

/// What a CustomResourceDefinition says of one version of its resource, made ready for use.
public final class CustomVersion: Sendable {
    /// Where `scale` finds its numbers in an object.
    public struct ScalePaths: Sendable, Hashable {
        public let specReplicas: [String]
        public let statusReplicas: [String]
        /// Empty: the resource has no selector.
        public let labelSelector: [String]

        init?(_ scale: JSON?) {
            guard let scale, scale.object != nil else { return nil }
            func steps(_ key: String) -> [String] {
                (scale[key].string ?? "").split(separator: ".").map(String.init)
            }
            specReplicas = steps("specReplicasPath")
            statusReplicas = steps("statusReplicasPath")
            labelSelector = steps("labelSelectorPath")
        }
    }

    /// The name of the definition: `crontabs.stable.example.com`.
    public let definition: String
    public let schema: Schema
    /// The schema as OpenAPI documents show it.
    let openAPI: JSON
    /// The version as which objects are stored.
    public let storageVersion: String
    /// Nil: the resource has no `scale`.
    public let scale: ScalePaths?
    /// What a client that uses the version is warned of.
    public let deprecationWarning: String?
    /// Whether `x-kubernetes-validations` stand in the schema.
    public let hasExpressionRules: Bool
    /// False while the definition is being deleted, and its objects with it.
    public let takesNewObjects: Bool
    let description: KindDescription
    /// Objects that were stored at an earlier revision of the store may follow another schema.
    let definedAt: Int64
    private let hasOtherVersions: Bool

    init(_ version: JSON, of definition: KubeObject, definedAt: Int64) {
        let spec = definition["spec"]
        let group = spec["group"].string ?? ""
        let kind = spec["names"]["kind"].string ?? ""
        let name = version["name"].string ?? ""
        let openAPI = version["schema"]["openAPIV3Schema"] ?? .object([:])
        self.definition = definition.name
        self.openAPI = openAPI
        schema = Schema(openAPI: openAPI, isRoot: true)
        let versions = spec["versions"].array ?? []
        storageVersion = versions.first { $0["storage"].bool ?? false }?["name"].string ?? name
        hasOtherVersions = versions.count > 1
        scale = ScalePaths(version["subresources"]["scale"])
        deprecationWarning =
            version["deprecated"].bool ?? false
            ? version["deprecationWarning"].string ?? "\(group)/\(name) \(kind) is deprecated" : nil
        hasExpressionRules = Self.hasRules(openAPI)
        takesNewObjects = !definition.isBeingDeleted
        self.definedAt = definedAt
        let fields = (version["selectableFields"].array ?? []).compactMap { $0["jsonPath"].string?.dropFirst() }
        description = KindDescription(
            group, kind, strategy: .init(allowsUnconditionalUpdate: false, countsGenerations: true),
            selectable: Dictionary(
                fields.map { (String($0), KindDescription.SelectableField(path: String($0))) },
                uniquingKeysWith: { first, _ in first }))
    }

    private static func hasRules(_ schema: JSON) -> Bool {
        switch schema {
        case .object(let members):
            members.contains { $0.key == "x-kubernetes-validations" && $0.value.array != nil || hasRules($0.value) }
        case .array(let elements): elements.contains(where: hasRules)
        default: false
        }
    }

    /// Whether the bytes of an object that was stored at `revision` may say what this version does not: then the object
    /// is read through the schema.
    public func mustReread(_ revision: Int64) -> Bool { hasOtherVersions || revision < definedAt }

    /// A stored object as this version shows it: without what its schema does not know, with its defaults.
    public func reread(_ object: KubeObject, registry: ResourceRegistry = .shared) -> KubeObject {
        let decoded = registry.decode(object, schema: schema, typeName: "", isCustom: true).object
        return KubeObject(registry.filled(decoded.json, schema))
    }
}

extension ResourceType {
    private static let customVerbs = [
        "delete", "deletecollection", "get", "list", "patch", "create", "update", "watch",
    ]

    /// The types that a definition makes: one for each version that is served. None before its names are accepted.
    ///
    /// - Parameter definedAt: the revision of the store at which the definition last changed what it asks for.
    public static func defined(by definition: KubeObject, definedAt: Int64) -> [ResourceType] {
        let spec = definition["spec"]
        let names = definition["status"]["acceptedNames"]
        let isEstablished = (definition["status"]["conditions"].array ?? []).contains {
            $0["type"].string == "Established" && $0["status"].string == "True"
        }
        guard isEstablished, let group = spec["group"].string, let plural = names["plural"].string,
            let kind = names["kind"].string, !plural.isEmpty, !kind.isEmpty
        else { return [] }
        func words(_ key: String) -> [String] { names[key].array?.compactMap(\.string) ?? [] }
        return (spec["versions"].array ?? []).filter { $0["served"].bool ?? false }.compactMap { version in
            guard let name = version["name"].string else { return nil }
            let custom = CustomVersion(version, of: definition, definedAt: definedAt)
            let groupVersionKind = GroupVersionKind(group, name, kind)
            var parts: [Subresource] = []
            let verbs = ["get", "patch", "update"]
            if version["subresources"]["status"].object != nil {
                parts.append(Subresource(name: "status", kind: groupVersionKind, verbs: verbs))
            }
            if custom.scale != nil {
                parts.append(
                    Subresource(name: "scale", kind: GroupVersionKind("autoscaling", "v1", "Scale"), verbs: verbs))
            }
            let reversed = group.split(separator: ".").reversed().joined(separator: ".")
            return ResourceType(
                resource: GroupVersionResource(group, name, plural), kind: kind,
                singular: names["singular"].string ?? kind.lowercased(), shortNames: words("shortNames"),
                categories: words("categories"), isNamespaced: spec["scope"].string == "Namespaced",
                verbs: customVerbs, subresources: parts, typeName: "\(reversed).\(name).\(kind)",
                storage: GroupVersionResource(group, custom.storageVersion, plural), isCustom: true,
                columns: version["additionalPrinterColumns"].array?.map(PrinterColumn.init) ?? [], custom: custom)
        }
    }

    /// The same resource in another version: what objects are stored as.
    func inVersion(_ version: String) -> ResourceType {
        ResourceType(
            resource: GroupVersionResource(group, version, resource.resource), kind: kind, singular: singular,
            shortNames: shortNames, categories: categories, isNamespaced: isNamespaced, verbs: verbs,
            subresources: subresources, typeName: typeName, storage: storage, isCustom: isCustom, columns: columns,
            custom: custom)
    }

    /// The type as which objects of the type are stored.
    public func storageType(_ registry: ResourceRegistry = .shared) -> ResourceType {
        if storage == resource { return self }
        if let custom { return inVersion(custom.storageVersion) }
        return registry.resource(storage) ?? self
    }
}
