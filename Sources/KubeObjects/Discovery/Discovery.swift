// SPDX-License-Identifier: Apache-2.0

public import Values

/// The documents by which clients learn what the API serves.
public struct Discovery: Sendable {
    public enum Aggregated: String, Sendable {
        case v2
        case v2beta1

        /// The Content-Type that tells clients the aggregated form from the legacy one.
        public var contentType: String {
            "application/json;g=apidiscovery.k8s.io;v=\(rawValue);as=APIGroupDiscoveryList"
        }
    }

    private let registry: ResourceRegistry

    public init(_ registry: ResourceRegistry = .shared) { self.registry = registry }

    // MARK: Legacy

    /// `GET /api`. `serverAddress` is host and port, as clients reach them.
    public func coreVersions(serverAddress: String) -> JSON {
        [
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [["clientCIDR": "0.0.0.0/0", "serverAddress": JSON(serverAddress)]],
        ]
    }

    /// `GET /apis`
    public func groupList() -> JSON {
        ["kind": "APIGroupList", "apiVersion": "v1", "groups": .array(namedGroups.map { group($0) })]
    }

    /// `GET /apis/GROUP`; nil for a group that is not served.
    public func group(named name: String) -> JSON? {
        guard let found = namedGroups.first(where: { $0.name == name }) else { return nil }
        var document = JSONObject([("kind", "APIGroup"), ("apiVersion", "v1")])
        for (key, value) in group(found).object ?? [:] { document[key] = value }
        return .object(document)
    }

    /// `GET /api/v1` and `GET /apis/GROUP/VERSION`; nil for a version that is not served.
    public func resourceList(group: String, version: String) -> JSON? {
        let types = registry.resources(group: group, version: version)
        guard let first = types.first else { return nil }
        return [
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": JSON(first.apiVersion),
            "resources": .array(types.flatMap(entries)),
        ]
    }

    private var namedGroups: [ResourceRegistry.Group] { registry.groups.filter { !$0.name.isEmpty } }

    private func group(_ group: ResourceRegistry.Group) -> JSON {
        func version(_ version: String) -> JSON {
            ["groupVersion": JSON("\(group.name)/\(version)"), "version": JSON(version)]
        }
        return [
            "name": JSON(group.name), "versions": .array(group.versions.map(version)),
            "preferredVersion": version(group.preferredVersion),
        ]
    }

    /// The entry of a resource and those of its subresources.
    private func entries(_ type: ResourceType) -> [JSON] {
        var entry: JSON = [
            "name": JSON(type.resource.resource), "singularName": JSON(type.singular),
            "namespaced": JSON(type.isNamespaced), "kind": JSON(type.kind), "verbs": JSON(type.verbs),
        ]
        if !type.shortNames.isEmpty { entry["shortNames"] = JSON(type.shortNames) }
        if !type.categories.isEmpty { entry["categories"] = JSON(type.categories) }
        if type.isStored { entry["storageVersionHash"] = JSON(Self.hash(type)) }
        return [entry]
            + type.subresources.map { sub in
                var entry: JSON = [
                    "name": JSON("\(type.resource.resource)/\(sub.name)"), "singularName": "",
                    "namespaced": JSON(type.isNamespaced),
                ]
                if sub.kind.group != type.group || sub.kind.version != type.version {
                    entry["group"] = JSON(sub.kind.group)
                    entry["version"] = JSON(sub.kind.version)
                }
                entry["kind"] = JSON(sub.kind.kind)
                entry["verbs"] = JSON(sub.verbs)
                return entry
            }
    }

    /// Tells clients that two resources keep their objects alike. Eight bytes, opaque.
    private static func hash(_ type: ResourceType) -> String {
        let text = "\(type.storage.group)/\(type.storage.version)/\(type.kind)"
        let hash = text.utf8.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return Base64.text((0..<8).map { UInt8(truncatingIfNeeded: hash >> UInt64(8 * $0)) })
    }

    // MARK: Aggregated

    /// `GET /api` and `GET /apis` for clients that ask for the aggregated form.
    public func aggregated(core: Bool, as version: Aggregated) -> JSON {
        let groups = registry.groups.filter { $0.name.isEmpty == core }
        return [
            "kind": "APIGroupDiscoveryList", "apiVersion": JSON("apidiscovery.k8s.io/\(version.rawValue)"),
            "metadata": [:],
            "items": .array(
                groups.map { group in
                    [
                        "metadata": group.name.isEmpty ? [:] : ["name": JSON(group.name)],
                        "versions": .array(
                            group.versions.map { version in
                                [
                                    "version": JSON(version), "freshness": "Current",
                                    "resources": .array(
                                        registry.resources(group: group.name, version: version).map(aggregatedEntry)),
                                ]
                            }),
                    ]
                }),
        ]
    }

    private func aggregatedEntry(_ type: ResourceType) -> JSON {
        var entry: JSON = [
            "resource": JSON(type.resource.resource), "responseKind": Self.json(type.groupVersionKind),
            "scope": type.isNamespaced ? "Namespaced" : "Cluster", "singularResource": JSON(type.singular),
            "verbs": JSON(type.verbs),
        ]
        if !type.shortNames.isEmpty { entry["shortNames"] = JSON(type.shortNames) }
        if !type.categories.isEmpty { entry["categories"] = JSON(type.categories) }
        if !type.subresources.isEmpty {
            entry["subresources"] = .array(
                type.subresources.map {
                    ["subresource": JSON($0.name), "responseKind": Self.json($0.kind), "verbs": JSON($0.verbs)]
                })
        }
        return entry
    }

    private static func json(_ kind: GroupVersionKind) -> JSON {
        ["group": JSON(kind.group), "version": JSON(kind.version), "kind": JSON(kind.kind)]
    }
}
