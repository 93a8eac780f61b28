// SPDX-License-Identifier: Apache-2.0

import Values

extension ResourceRegistry {
    /// Fills in the defaults that a schema names, also inside of what it fills in.
    func filled(_ value: JSON, _ schema: Schema) -> JSON {
        let schema = resolve(schema)
        switch (schema.shape, value) {
        case (.object(let fields), .object(var members)):
            for field in fields {
                if let member = members[field.name] {
                    let replaced =
                        member.isNull && !field.schema.isNullable ? field.schema.defaultValue ?? member : member
                    members[field.name] = filled(replaced, field.schema)
                } else if let standard = field.schema.defaultValue {
                    members[field.name] = filled(standard, field.schema)
                }
            }
            return .object(members)
        case (.map(let element), .object(let members)):
            return .object(JSONObject(members.map { ($0.key, filled($0.value, element)) }))
        case (.list(let element), .array(let elements)): return .array(elements.map { filled($0, element) })
        default: return value
        }
    }
}
