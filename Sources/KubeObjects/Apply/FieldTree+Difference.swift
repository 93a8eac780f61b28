// SPDX-License-Identifier: Apache-2.0

import Values

extension FieldTree {
    struct Difference {
        var changed = FieldSet()
        var removed = FieldSet()

        /// What differs below a step.
        fileprivate mutating func add(_ inner: Difference, at step: String) {
            changed[step] = changed[step]?.union(inner.changed) ?? inner.changed
            removed[step] = removed[step]?.union(inner.removed) ?? inner.removed
        }
    }

    /// The fields that are new or differ, and those that are gone. What is equal is passed over without being taken
    /// apart: most writes change a few fields of a large object.
    func difference(_ old: JSON, _ new: JSON, _ schema: Schema?) -> Difference {
        if old == new { return Difference() }
        let resolved = schema.map(registry.resolve)
        switch (old, new) {
        case (.object(let before), .object(let after)) where !isAtomicMap(schema, resolved):
            return difference(before, after, resolved)
        case (.array(let before), .array(let after)):
            guard let rules = associative(schema, resolved) else { break }
            return difference(before, after, rules, element(resolved))
        default: break
        }
        var result = Difference()
        result.changed = fields(new, schema)
        result.removed = fields(old, schema).subtracting(result.changed)
        return result
    }

    private func difference(_ old: JSONObject, _ new: JSONObject, _ schema: Schema?) -> Difference {
        var result = Difference()
        for (key, value) in new.members where !value.isNull {
            let was = old[key]
            if was == value { continue }
            let (field, isKnown) = member(key, schema)
            if let was, !was.isNull {
                result.add(difference(was, value, field), at: "f:\(key)")
            } else {
                result.changed["f:\(key)"] = fields(
                    of: Branch(step: "", value: value, schema: field, isMember: !isKnown))
            }
        }
        for (key, value) in old.members where !value.isNull && new[key] ?? .null == .null {
            let (field, isKnown) = member(key, schema)
            result.removed["f:\(key)"] = fields(of: Branch(step: "", value: value, schema: field, isMember: !isKnown))
        }
        return result
    }

    private func difference(
        _ old: [JSON], _ new: [JSON], _ rules: Schema.ListRules, _ schema: Schema?
    ) -> Difference {
        var result = Difference()
        func all(_ element: JSON) -> FieldSet {
            fields(of: Branch(step: "", value: element, schema: schema, isMember: true))
        }
        var was: [String: JSON] = [:]
        for (index, element) in old.enumerated() {
            // An element that stands where it stood, as it was, needs no name.
            if index < new.count, new[index] == element { continue }
            let step = step(element, rules, schema, index)
            if was[step] == nil { was[step] = element }
        }
        var seen: Set<String> = []
        for (index, element) in new.enumerated() {
            if index < old.count, old[index] == element { continue }
            let step = step(element, rules, schema, index)
            seen.insert(step)
            if let twin = was[step] {
                result.add(difference(twin, element, schema), at: step)
            } else {
                result.changed[step] = all(element)
            }
        }
        for (step, element) in was where !seen.contains(step) { result.removed[step] = all(element) }
        return result
    }
}
