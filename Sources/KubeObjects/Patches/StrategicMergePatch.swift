// SPDX-License-Identifier: Apache-2.0

public import Values

/// Kubernetes' strategic merge patch: a merge patch whose lists merge by the keys that the schema names, with
/// directives for what plain merging cannot say.
public struct StrategicMergePatch {
    private static let directive = "$patch"
    private static let retainKeys = "$retainKeys"
    private static let deletions = "$deleteFromPrimitiveList/"
    private static let order = "$setElementOrder/"

    private let registry: ResourceRegistry

    private init(_ registry: ResourceRegistry) { self.registry = registry }

    /// Applies the patch to an object of the type.
    public static func apply(
        _ patch: JSON, to target: JSON, type: ResourceType, registry: ResourceRegistry = .shared
    ) throws(PatchError) -> JSON {
        guard let schema = registry.schema(of: type) else {
            throw PatchError(.malformed, "strategic merge patch is not supported for \(type.kind)")
        }
        return try apply(patch, to: target, schema: schema, registry: registry)
    }

    public static func apply(
        _ patch: JSON, to target: JSON, schema: Schema, registry: ResourceRegistry = .shared
    ) throws(PatchError) -> JSON {
        guard case .object(let changes) = patch else {
            throw PatchError(.malformed, "a strategic merge patch must be an object, not a JSON \(patch.typeName)")
        }
        return .object(
            try StrategicMergePatch(registry).merged(changes, into: target.object ?? JSONObject(), schema, depth: 0))
    }

    // MARK: Objects

    private func merged(
        _ patch: JSONObject, into original: JSONObject, _ schema: Schema?, depth: Int
    ) throws(PatchError) -> JSONObject {
        guard depth < JSON.maximumDepth else { throw PatchError(.malformed, "the patch is nested too deeply") }
        var patch = patch
        var result = original
        if let directive = patch.removeValue(forKey: Self.directive) {
            switch directive.string {
            case "replace": return withoutDirectives(patch)
            case "delete": return JSONObject()
            case "merge": break
            default: throw unknown(directive)
            }
        }
        if let kept = patch.removeValue(forKey: Self.retainKeys) {
            guard let keys = kept.array?.compactMap(\.string) else {
                throw PatchError(.malformed, "\(Self.retainKeys) must be a list of strings")
            }
            if let stray = patch.keys.first(where: { !$0.hasPrefix("$") && !keys.contains($0) }) {
                throw PatchError(
                    .malformed, "\(Self.retainKeys) does not list \"\(stray)\", which the same patch sets")
            }
            result.removeAll { !keys.contains($0.key) }
        }
        // Lists that a patch only reorders or takes from have no member of their own in it.
        var lists: [String] = []
        for key in patch.keys {
            for prefix in [Self.deletions, Self.order] where key.hasPrefix(prefix) {
                let name = String(key.dropFirst(prefix.count))
                if patch[name] == nil, !lists.contains(name) { lists.append(name) }
            }
        }
        for key in patch.keys where !key.hasPrefix(Self.deletions) && !key.hasPrefix(Self.order) {
            guard let change = patch[key] else { continue }
            let field = schema.flatMap { member(key, of: $0) }
            result[key] = try merged(
                change, into: result[key], field, key: key, patch: patch, depth: depth)
        }
        for key in lists {
            guard let elements = result[key]?.array else { continue }
            let field = schema.flatMap { member(key, of: $0) }
            result[key] = .array(
                try mergedList([], into: elements, field, key: key, patch: patch, depth: depth))
        }
        return result
    }

    private func merged(
        _ change: JSON, into existing: JSON?, _ field: Schema?, key: String, patch: JSONObject, depth: Int
    ) throws(PatchError) -> JSON? {
        if change.isNull { return nil }
        let strategies = field?.list?.strategies ?? []
        switch (change, existing) {
        case (.object(let changes), .object(let original)?):
            if strategies.contains("replace") { return .object(withoutDirectives(changes)) }
            let merged = try merged(changes, into: original, field.map(registry.resolve), depth: depth + 1)
            // A deleted object goes altogether.
            return changes[Self.directive].string == "delete" ? Optional.none : .object(merged)
        case (.object(let changes), _):
            if changes[Self.directive].string == "delete" { return nil }
            return .object(
                try merged(changes, into: JSONObject(), field.map(registry.resolve), depth: depth + 1))
        case (.array(let changes), .array(let original)?) where strategies.contains("merge"):
            return .array(try mergedList(changes, into: original, field, key: key, patch: patch, depth: depth))
        case (.array(let changes), _) where strategies.contains("merge"):
            return .array(try mergedList(changes, into: [], field, key: key, patch: patch, depth: depth))
        case (.array(let changes), _):
            return .array(changes.filter { $0[Self.directive] == nil || $0.object?.count != 1 })
        default: return change
        }
    }

    private func member(_ key: String, of schema: Schema) -> Schema? {
        let schema = registry.resolve(schema)
        if case .map(let value) = schema.shape { return value }
        return schema.field(key)
    }

    private func unknown(_ directive: JSON) -> PatchError {
        PatchError(.malformed, "unknown patch type \(directive) found in $patch")
    }

    /// What a directive replaces an object with keeps no directives itself.
    private func withoutDirectives(_ object: JSONObject) -> JSONObject {
        var result = JSONObject()
        for (key, value) in object where !key.hasPrefix("$") && !value.isNull { result[key] = value }
        return result
    }

    // MARK: Lists

    private func mergedList(
        _ changes: [JSON], into original: [JSON], _ field: Schema?, key: String, patch: JSONObject, depth: Int
    ) throws(PatchError) -> [JSON] {
        let order = patch[Self.order + key]?.array
        guard let mergeKey = field?.list?.mergeKey else {
            let removed = patch[Self.deletions + key]?.array ?? []
            var result = original
            var known = Set(original)
            for change in changes where known.insert(change).inserted { result.append(change) }
            let unwanted = Set(removed)
            if !unwanted.isEmpty { result.removeAll { unwanted.contains($0) } }
            return order.map { ordered(result, original, by: $0) { $0 } } ?? result
        }
        let element: Schema? = if case .list(let element)? = field?.shape { element } else { nil }
        let result = try mergedObjects(changes, into: original, element, mergeKey, depth: depth)
        return order.map { order in
            ordered(result, original, by: order.map { $0[mergeKey] ?? .null }) { $0[mergeKey] ?? .null }
        }
            ?? result
    }

    private func mergedObjects(
        _ changes: [JSON], into original: [JSON], _ element: Schema?, _ mergeKey: String, depth: Int
    ) throws(PatchError) -> [JSON] {
        var result = original
        if changes.contains(where: { $0[Self.directive].string == "replace" }) {
            return changes.compactMap { change in
                change[Self.directive] == nil ? change.object.map { .object(withoutDirectives($0)) } : nil
            }
        }
        var places = Self.places(of: result) { $0[mergeKey] ?? .null }
        for change in changes {
            guard case .object(var members) = change else {
                throw PatchError(
                    .malformed, "an element of a list that merges by \(mergeKey) must be an object, not \(change)")
            }
            guard let identity = members[mergeKey] else {
                throw PatchError(.malformed, "map: \(change) does not contain declared merge key: \(mergeKey)")
            }
            let index = places[identity]
            if let directive = members[Self.directive] {
                switch directive.string {
                case "delete":
                    if index != nil {
                        result.removeAll { $0[mergeKey] == identity }
                        places = Self.places(of: result) { $0[mergeKey] ?? .null }
                    }
                    continue
                case "merge": members[Self.directive] = nil
                default: throw unknown(directive)
                }
            }
            let resolved = element.map(registry.resolve)
            let merged = JSON.object(
                try self.merged(
                    members, into: index.flatMap { result[$0].object } ?? JSONObject(), resolved, depth: depth + 1))
            if let index {
                result[index] = merged
            } else {
                places[identity] = result.count
                result.append(merged)
            }
        }
        return result
    }

    /// Where each element stands first.
    private static func places(of elements: [JSON], _ identity: (JSON) -> JSON) -> [JSON: Int] {
        Dictionary(
            elements.enumerated().map { (identity($0.element), $0.offset) }, uniquingKeysWith: { first, _ in first })
    }

    /// Elements that the patch lists come in its order; the others keep their places among them as far as the
    /// original order tells.
    private func ordered(
        _ elements: [JSON], _ original: [JSON], by order: [JSON], identity: (JSON) -> JSON
    ) -> [JSON] {
        // An identity may stand more than once: one port of two protocols is two elements.
        let ranks = Self.places(of: order) { $0 }
        let listed = elements.enumerated().compactMap { place, element in
            ranks[identity(element)].map { (rank: $0, place: place, element: element) }
        }.sorted { ($0.rank, $0.place) < ($1.rank, $1.place) }.map(\.element)
        let others = elements.filter { ranks[identity($0)] == nil }
        let places = Self.places(of: original, identity)
        func comesBefore(_ left: JSON, _ right: JSON) -> Bool {
            switch (places[identity(left)], places[identity(right)]) {
            case (let left?, let right?): left < right
            case (.some, nil): true
            default: false
            }
        }
        var result: [JSON] = []
        var left = others[...]
        var right = listed[...]
        while let first = left.first, let second = right.first {
            if comesBefore(first, second) {
                result.append(first)
                left.removeFirst()
            } else {
                result.append(second)
                right.removeFirst()
            }
        }
        return result + left + right
    }
}
