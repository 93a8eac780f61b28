// SPDX-License-Identifier: Apache-2.0

import Values

/// How a schema takes values apart into the fields that managers own, one by one: server-side apply's view of lists,
/// maps and what is owned as a whole (`x-kubernetes-list-type`, `x-kubernetes-map-type`).
struct FieldTree {
    let registry: ResourceRegistry

    struct Branch {
        let step: String
        let value: JSON
        let schema: Schema?
        /// Elements and keys of maps are fields of their own, fields of a structure only by what they hold.
        let isMember: Bool
    }

    /// The parts of an object or a list; nil for what is owned as a whole. Without a schema, objects come apart and
    /// lists do not.
    func branches(_ value: JSON, _ schema: Schema?) -> [Branch]? {
        let resolved = schema.map(registry.resolve)
        switch value {
        case .object(let object):
            if isAtomicMap(schema, resolved) { return nil }
            return object.compactMap { key, value in
                if value.isNull { return nil }
                let (field, isKnown) = member(key, resolved)
                return Branch(step: "f:\(key)", value: value, schema: field, isMember: !isKnown)
            }
        case .array(let elements):
            guard let rules = associative(schema, resolved) else { return nil }
            let element = element(resolved)
            return elements.enumerated().map { index, value in
                Branch(step: step(value, rules, element, index), value: value, schema: element, isMember: true)
            }
        default: return nil
        }
    }

    func isAtomicMap(_ schema: Schema?, _ resolved: Schema?) -> Bool {
        schema?.mapType == "atomic" || resolved?.mapType == "atomic"
    }

    /// The rules of a list whose elements are fields of their own; nil for one that is owned as a whole.
    func associative(_ schema: Schema?, _ resolved: Schema?) -> Schema.ListRules? {
        guard let rules = schema?.list ?? resolved?.list, rules.type == "map" || rules.type == "set" else { return nil }
        return rules
    }

    func element(_ list: Schema?) -> Schema? { if case .list(let element)? = list?.shape { element } else { nil } }

    /// The schema of an object's member, and whether it is a field with a name of its own.
    func member(_ key: String, _ schema: Schema?) -> (Schema?, Bool) {
        guard let schema else { return (nil, false) }
        if case .map(let value) = schema.shape { return (value, false) }
        let field = schema.field(key)
        return (field, field != nil)
    }

    /// The step to an element of an associative list. A key that has a default need not be written.
    func step(_ element: JSON, _ rules: Schema.ListRules, _ schema: Schema?, _ index: Int) -> String {
        guard rules.type == "map" else { return "v:\(element.text())" }
        var members: [JSONObject.Member] = []
        for key in rules.mapKeys.sorted() {
            if let value = element[key], !value.isNull {
                members.append((key, value))
            } else if let standard = schema.map(registry.resolve)?.field(key)?.defaultValue {
                members.append((key, standard))
            }
        }
        return members.isEmpty ? "i:\(index)" : "k:\(JSON.object(JSONObject(members)).text())"
    }

    /// All fields of a value.
    func fields(_ value: JSON, _ schema: Schema?) -> FieldSet {
        guard let branches = branches(value, schema) else { return .itself }
        var set = FieldSet()
        if value.object?.isEmpty ?? false { set.isMember = true }
        for branch in branches {
            let child = fields(of: branch)
            set[branch.step] = set[branch.step]?.union(child) ?? child
        }
        return set
    }

    func fields(of branch: Branch) -> FieldSet {
        var set = fields(branch.value, branch.schema)
        if branch.isMember { set.isMember = true }
        return set
    }

    /// `live` with everything that `wish` says. Elements come in the order of the wish, those that it does not name in
    /// their places between.
    func merged(_ wish: JSON, into live: JSON?, _ schema: Schema?) -> JSON {
        guard let live, let ours = branches(wish, schema), let theirs = branches(live, schema) else { return wish }
        if case .object(var result) = live {
            for branch in ours {
                let key = String(branch.step.dropFirst(2))
                result[key] = merged(branch.value, into: result[key].flatMap { $0.isNull ? nil : $0 }, branch.schema)
            }
            return .object(result)
        }
        let wished = Set(ours.map(\.step))
        let there = Dictionary(theirs.map { ($0.step, $0.value) }, uniquingKeysWith: { first, _ in first })
        var result: [JSON] = []
        var rest = theirs[...]
        func passOthers() {
            while let next = rest.first, !wished.contains(next.step) {
                result.append(next.value)
                rest = rest.dropFirst()
            }
        }
        var done: Set<String> = []
        for branch in ours where done.insert(branch.step).inserted {
            passOthers()
            result.append(merged(branch.value, into: there[branch.step], branch.schema))
            while let next = rest.first, done.contains(next.step) { rest = rest.dropFirst() }
        }
        result += rest.filter { !wished.contains($0.step) }.map(\.value)
        return .array(result)
    }

    /// `value` without the fields of `dropped` that nobody in `owned` has: an element or a structure goes as a whole when
    /// nobody has anything in it.
    func pruned(_ value: JSON, _ schema: Schema?, dropped: FieldSet, owned: FieldSet) -> JSON {
        guard let branches = branches(value, schema) else { return value }
        var kept: [(String, JSON)] = []
        for branch in branches {
            guard let drop = dropped[branch.step] else {
                kept.append((branch.step, branch.value))
                continue
            }
            guard let owner = owned[branch.step] else { continue }
            kept.append((branch.step, pruned(branch.value, branch.schema, dropped: drop, owned: owner)))
        }
        guard value.object != nil else { return .array(kept.map(\.1)) }
        return .object(JSONObject(kept.map { (String($0.0.dropFirst(2)), $0.1) }))
    }
}
