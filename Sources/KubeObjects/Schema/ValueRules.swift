// SPDX-License-Identifier: Apache-2.0

import Values

extension Schema {
    /// What schemas of custom resources demand of a value besides its structure: `allOf`, `anyOf`, `oneOf`, `not`.
    public struct ValueRules: Sendable {
        let all: [Schema]
        let any: [Schema]
        let one: [Schema]
        let not: Schema?

        /// Nil when the schema has none.
        init?(openAPI schema: JSON) {
            func list(_ key: String) -> [Schema] { (schema[key].array ?? []).map { Schema(valueRule: $0) } }
            all = list("allOf")
            any = list("anyOf")
            one = list("oneOf")
            not = schema["not"].map { Schema(valueRule: $0) }
            if all.isEmpty, any.isEmpty, one.isEmpty, not == nil { return nil }
        }
    }

    /// A schema that says something of a value without saying what the value is.
    convenience init(valueRule rule: JSON) {
        let shape: Shape
        if rule["type"].string != nil {
            self.init(openAPI: rule)
            return
        } else if let properties = rule["properties"].object {
            shape = .object(properties.map { Field(name: $0.key, schema: Schema(valueRule: $0.value)) })
        } else if let items = rule["items"], items.object != nil {
            shape = .list(Schema(valueRule: items))
        } else if rule["required"].array != nil {
            shape = .object([])
        } else {
            shape = .any
        }
        self.init(
            shape, format: rule["format"].string, required: rule["required"].array?.compactMap(\.string) ?? [],
            limits: Limits(openAPI: rule), isValueRule: true, rules: ValueRules(openAPI: rule))
    }
}

extension SchemaInspection {
    mutating func inspect(_ value: JSON, rules: Schema.ValueRules, at path: String) {
        func errors(_ schema: Schema) -> [FieldError] {
            var inspection = SchemaInspection(registry: registry, isCustom: isCustom)
            inspection.inspect(value, schema, at: path)
            return inspection.errors
        }
        func refuse(_ why: String) { report(.invalid(path, value, "\"\(path)\" must \(why)")) }
        let failed = rules.all.map(errors).filter { !$0.isEmpty }
        if !failed.isEmpty {
            for error in failed.joined() { report(error) }
            refuse("validate all the schemas (allOf)")
        }
        if !rules.any.isEmpty, !rules.any.contains(where: { errors($0).isEmpty }) {
            refuse("validate at least one schema (anyOf)")
        }
        if !rules.one.isEmpty {
            let count = rules.one.count { errors($0).isEmpty }
            if count != 1 {
                let found = count == 0 ? "Found none valid" : "Found \(count) valid alternatives"
                refuse("validate one and only one schema (oneOf). \(found)")
            }
        }
        if let not = rules.not, errors(not).isEmpty { refuse("not validate the schema (not)") }
    }
}
