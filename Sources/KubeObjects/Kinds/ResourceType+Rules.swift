// SPDX-License-Identifier: Apache-2.0

public import Values

/// What the API does with objects of a type, by its schema and the description of its kind.
extension ResourceType {
    public var description: KindDescription { KindDescription.of(self) }

    /// The object with everything filled in that a client may leave out.
    public func defaulted(_ object: KubeObject, registry: ResourceRegistry = .shared) -> KubeObject {
        var json = object.json
        if isCustom, let schema = registry.schema(of: self) { json = registry.filled(json, schema) }
        description.defaults(&json)
        return KubeObject(json)
    }

    /// A new object as it is stored at first: its status set or taken away, its generation 1. The object already has
    /// its defaults, name, uid and creation time. `requester` is a `UserInfo` of authentication.k8s.io.
    public func preparedForCreate(_ object: KubeObject, requester: JSON = [:]) -> KubeObject {
        let description = description
        var json = object.json
        if subresource("status") != nil { json["status"] = description.initialStatus?(json) }
        if description.strategy.countsGenerations { json["metadata"]["generation"] = 1 }
        description.complete(&json)
        description.enterRequester(&json, requester)
        return KubeObject(json)
    }

    /// An object as it replaces `old`: the status stays, unless it is what is written, and the generation counts changes of what
    /// the object asks for.
    public func preparedForUpdate(
        _ object: KubeObject, old: KubeObject, subresource: String? = nil, now: Timestamp = .now
    ) -> KubeObject {
        var json = object.json
        let hasStatus = self.subresource("status") != nil
        if let subresource, let part = description.parts[subresource] {
            json = part(json, old.json, now)
        } else if subresource == "status" {
            // Everything but the status stays, except what controllers keep in metadata.
            let metadata = json["metadata"]
            var kept = old.json
            kept["status"] = json["status"]
            for field in ["labels", "annotations", "finalizers", "ownerReferences", "managedFields", "resourceVersion"]
            where hasStatus && !isCustom {
                kept["metadata"][field] = metadata[field]
            }
            json = kept
            description.keepInStatus(&json, old.json)
        } else {
            if hasStatus { json["status"] = old.json["status"] }
            if subresource == nil { description.keep(&json, old.json) }
        }
        if description.strategy.countsGenerations {
            let isAnnotated =
                description.strategy.countsAnnotations && subresource == nil
                && json["metadata"]["annotations"] != old.json["metadata"]["annotations"]
            let changed = isAnnotated || content(json) != content(old.json)
            json["metadata"]["generation"] = JSON(changed ? max(old.generation, 0) &+ 1 : old.generation)
        }
        return KubeObject(json)
    }

    /// What the object asks for: everything but metadata and status. A custom resource without the subresource has a
    /// `status` like any other field.
    private func content(_ json: JSON) -> JSON {
        var content = json
        for field in ["metadata", "apiVersion", "kind"] { content[field] = nil }
        if custom == nil || subresource("status") != nil { content["status"] = nil }
        return content
    }

    /// Everything that is wrong with an object; `old` is what it replaces. The object has its defaults.
    public func validate(
        _ object: KubeObject, old: KubeObject? = nil, subresource: String? = nil, registry: ResourceRegistry = .shared
    ) -> [FieldError] {
        let description = description
        var inspection = Inspection(object.json, old: old?.json, subresource: subresource)
        // What is answered on the spot needs no name.
        guard isStored else { return [] }
        MetadataRules.inspect(&inspection, isNamespaced: isNamespaced, nameRule: description.nameRule)
        // A status cannot spoil what the rules of most kinds are about.
        if subresource == "status", !isCustom {
            description.statusRules(&inspection)
            guard description.strategy.judgesStatus else { return inspection.errors }
        }
        description.rules(&inspection)
        for path in description.immutableFields { inspection.immutable(path) }
        var errors = inspection.errors
        if let schema = registry.schema(of: self) {
            var general = SchemaInspection(registry: registry, isCustom: isCustom)
            general.inspect(object.json, schema, at: "")
            let judged = inspection.judged.union(errors.map(\.field))
            errors += general.errors.filter { !judged.contains($0.field) }
        }
        return errors
    }
}
