// SPDX-License-Identifier: Apache-2.0

import Values

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

    /// Everything that is wrong with an object; `old` is what it replaces. The object has its defaults.
    public func validate(
        _ object: KubeObject, old: KubeObject? = nil, registry: ResourceRegistry = .shared
    ) -> [FieldError] {
        let description = description
        var inspection = Inspection(object.json, old: old?.json)
        MetadataRules.inspect(&inspection, isNamespaced: isNamespaced, nameRule: description.nameRule)
        description.rules(&inspection)
        for path in description.immutableFields { inspection.immutable(path) }
        var errors = inspection.errors
        if let schema = registry.schema(of: self) {
            var general = SchemaInspection(registry: registry, isCustom: isCustom)
            general.inspect(object.json, schema, at: "")
            let judged = Set(errors.map(\.field))
            errors += general.errors.filter { !judged.contains($0.field) }
        }
        return errors
    }
}

extension Inspection {
    /// Reports a change of a member that may not change.
    mutating func immutable(_ path: String, detail: String = "field is immutable") {
        guard let old else { return }
        var before: JSON? = old
        var after: JSON? = object
        for step in path.split(separator: ".") {
            before = before[String(step)]
            after = after[String(step)]
        }
        guard (before ?? .null) != (after ?? .null) else { return }
        report(.invalid(path, after ?? .null, detail))
    }
}
