// SPDX-License-Identifier: Apache-2.0

import Values

/// Server-side apply: objects that several managers write, each owning the fields that it states.
public struct ServerSideApply: Sendable {
    /// What an applied configuration would change that others own.
    public struct Conflict: Error, Sendable, Hashable {
        public struct Owner: Sendable, Hashable {
            public let manager: String
            public let operation: ManagedFields.Operation
            public let apiVersion: String
            public let subresource: String
            /// `.spec.replicas`
            public let field: String

            /// `"kubectl" using apps/v1`: appliers are the same in every version.
            fileprivate var name: String {
                let part = subresource.isEmpty ? "" : " with subresource \"\(subresource)\""
                return "\"\(manager)\"\(part)\(operation == .update ? " using \(apiVersion)" : "")"
            }

            /// Kubernetes' words for a Status cause.
            public var description: String { "conflict with \(name)" }
        }

        public let owners: [Owner]

        /// Kubernetes' sentence: one line for one conflict, else a list for each manager.
        public var message: String {
            guard owners.count > 1 else {
                let text = owners.first.map { "\($0.description): \($0.field)" } ?? ""
                return "Apply failed with 1 conflict: \(text)"
            }
            let byName = Dictionary(grouping: owners, by: \.name).sorted { $0.key < $1.key }
            let lines = byName.flatMap { name, owners in
                ["conflicts with \(name):"] + owners.map { "- \($0.field)" }
            }
            return "Apply failed with \(owners.count) conflicts: \(lines.joined(separator: "\n"))"
        }
    }

    /// Not fields of anybody: what the server keeps, and what says which object it is.
    private static let system = [
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion",
        "deletionTimestamp", "deletionGracePeriodSeconds",
    ].map { "f:\($0)" }

    let tree: FieldTree
    let schema: Schema?
    /// Nil for a kind that is no resource.
    let type: ResourceType?
    private let hasStatus: Bool

    public init(_ type: ResourceType, registry: ResourceRegistry = .shared) {
        tree = FieldTree(registry: registry)
        schema = registry.schema(of: type)
        self.type = type
        hasStatus = type.subresource("status") != nil
    }

    /// For a kind that is no resource, but a view of some: `autoscaling/v1, Scale`.
    public init(viewOf kind: GroupVersionKind, registry: ResourceRegistry = .shared) {
        tree = FieldTree(registry: registry)
        schema = registry.schema(forKind: kind)
        type = nil
        hasStatus = false
    }

    /// The fields of an object, or of its status, that a manager can own.
    public func fields(_ object: KubeObject, subresource: String = "") -> FieldSet {
        owned(tree.fields(object.json, schema), subresource)
    }

    private func owned(_ fields: FieldSet, _ subresource: String) -> FieldSet {
        if subresource == "status" { return fields.only(["f:status"]) }
        var fields = fields.without(["f:apiVersion", "f:kind"] + (hasStatus ? ["f:status"] : []))
        if var metadata = fields["f:metadata"] {
            metadata = metadata.without(Self.system)
            metadata.isMember = false
            fields["f:metadata"] = metadata
        }
        return fields
    }

    /// A difference without what nobody owns; status stays in, for writers of the whole object.
    func tracked(_ fields: FieldSet) -> FieldSet {
        var fields = fields.without(["f:apiVersion", "f:kind"])
        if let metadata = fields["f:metadata"] { fields["f:metadata"] = metadata.without(Self.system) }
        return fields
    }

    /// What `live` becomes when a manager applies `wish`, and who owns what then. The result has not passed defaults,
    /// admission and validation.
    ///
    /// - Parameters:
    ///   - force: takes fields that others own, instead of the error.
    ///   - time: RFC 3339, of the entries that change.
    public func apply(
        _ wish: KubeObject, to live: KubeObject, _ managed: ManagedFields, _ writer: ManagedFields.Writer,
        force: Bool, time: String
    ) throws(Conflict) -> (object: KubeObject, managed: ManagedFields) {
        var managed = managed
        // Whoever wrote before anybody was asked for a name.
        if managed.isEmpty {
            let earlier = ManagedFields.Writer(
                manager: "before-first-apply", operation: .update, apiVersion: writer.apiVersion)
            var fields = fields(live)
            if let status = live["status"], hasStatus, !status.isNull {
                fields = fields.union(self.fields(live, subresource: "status"))
            }
            managed.set(earlier, fields, at: live.metadata["creationTimestamp"].string ?? time)
        }
        let versions = VersionedFields(self, writer.apiVersion)
        let before = managed.entry(of: writer).map { versions.translated($0, on: live) } ?? FieldSet()
        let stated = fields(wish, subresource: writer.subresource)
        let part = KubeObject(reduced(wish.json, to: writer.subresource))
        managed.set(writer, stated, at: time)
        var json = tree.merged(part.json, into: live.json, schema)
        let gone = before.subtracting(stated)
        if !gone.isEmpty {
            let owned = managed.entries.reduce(Self.identity) { $0.union(versions.translated($1, on: live)) }
            json = tree.pruned(json, schema, dropped: before, owned: owned)
        }
        let result = KubeObject(json)
        var differences = versions.differences(from: live, to: result)
        var owners: [(ManagedFields.Writer, FieldSet)] = []
        for entry in managed.entries where !entry.writer.isSame(writer) {
            guard let changed = differences(entry.writer.apiVersion)?.changed else { continue }
            let common = entry.fields.intersection(changed)
            if !common.isEmpty { owners.append((entry.writer, common)) }
        }
        let contested = owners.reduce(FieldSet()) { $0.union($1.1) }
        if !contested.isEmpty, !force, !isOwnEarlierWish(contested, live, writer) {
            throw Conflict(
                owners: owners.flatMap { owner, fields in
                    fields.descriptions.map {
                        Conflict.Owner(
                            manager: owner.manager, operation: owner.operation, apiVersion: owner.apiVersion,
                            subresource: owner.subresource, field: $0)
                    }
                })
        }
        managed.adjust { entry in
            // Of a version that is not served any more nothing can be said.
            guard let difference = differences(entry.writer.apiVersion) else { return FieldSet() }
            let kept = entry.writer.isSame(writer) ? entry.fields : entry.fields.subtracting(difference.changed)
            return kept.subtracting(difference.removed)
        }
        return (result, managed)
    }

    /// Whether everything contested is as kubectl itself last applied it from the client's side: it goes over to the
    /// server's side without a conflict.
    private func isOwnEarlierWish(_ contested: FieldSet, _ live: KubeObject, _ writer: ManagedFields.Writer) -> Bool {
        guard writer.manager == "kubectl",
            let text = live.annotations["kubectl.kubernetes.io/last-applied-configuration"],
            let last = try? JSON(parsing: text)
        else { return false }
        let difference = tree.difference(last, live.json, schema)
        let unchanged = tree.fields(last, schema).subtracting(difference.changed).subtracting(difference.removed)
        return contested.subtracting(unchanged).isEmpty
    }

    /// What says which object it is stays, whoever drops it.
    static let identity = {
        var set = FieldSet()
        for field in ["f:apiVersion", "f:kind", "f:metadata"] { set[field] = .itself }
        return set
    }()

    /// The part of a configuration that a subresource takes.
    private func reduced(_ json: JSON, to subresource: String) -> JSON {
        var json = json
        if subresource == "status" {
            for (key, _) in json.object ?? [:] where !["apiVersion", "kind", "metadata", "status"].contains(key) {
                json[key] = nil
            }
            json["metadata"] = nil
        } else {
            if hasStatus { json["status"] = nil }
            for field in Self.system { json["metadata"][String(field.dropFirst(2))] = nil }
        }
        return json
    }
}
