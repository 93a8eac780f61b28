// SPDX-License-Identifier: Apache-2.0

/// How a message and all that it holds are written: the table of wire numbers, resolved once, so that encoding looks
/// nothing up by the name of a message.
struct MessagePlan: Sendable {
    /// What the bytes of a message are made from. All but `fields` stand for JSON that is no object of those fields.
    enum Form: Sendable {
        case fields, quantity, intOrString, time, microTime, raw, items
        /// A schema or something simpler in its place; the layout of the schema.
        case schemaOrList(Int), schemaOrFlag(Int), schemaOrTexts(Int)
    }

    enum Kind: Sendable {
        case string, bytes, bool, integer, double
        /// A message, by its index among the layouts.
        case message(Int)
    }

    struct Field: Sendable {
        let number: UInt64
        let kind: Kind
        let role: MessageTable.Field.Role

        /// The key before the value: number and wire type (varint 0, 64 bits 1, length-delimited 2).
        var key: UInt64 {
            switch kind {
            case .bool, .integer: number << 3
            case .double: number << 3 | 1
            case .string, .bytes, .message: number << 3 | 2
            }
        }
    }

    struct Layout: Sendable {
        var form = Form.fields
        /// In the order of their numbers, which is that in which they are written.
        var fields: [Field] = []
        /// The member that a field stands for. Members of an inlined message lead to the field that holds it.
        var byMember: [String: Int] = [:]
    }

    /// The message itself comes first.
    private(set) var layouts: [Layout] = []
    private var places: [String: Int] = [:]

    /// Nil for a name that no message has.
    init?(_ message: String, _ table: MessageTable) {
        guard table.fields(of: message) != nil else { return nil }
        _ = place(of: message, table)
    }

    private mutating func place(of message: String, _ table: MessageTable) -> Int {
        if let place = places[message] { return place }
        let place = layouts.count
        places[message] = place
        layouts.append(Layout())
        var layout = Layout()
        switch message.split(separator: ".").last ?? "" {
        case "Quantity": layout.form = .quantity
        case "IntOrString": layout.form = .intOrString
        case "Time": layout.form = .time
        case "MicroTime": layout.form = .microTime
        case "FieldsV1", "RawExtension", "JSON": layout.form = .raw
        case "Verbs", "ExtraValue": layout.form = .items
        case "JSONSchemaPropsOrArray": layout.form = .schemaOrList(schema(beside: message, table))
        case "JSONSchemaPropsOrBool": layout.form = .schemaOrFlag(schema(beside: message, table))
        case "JSONSchemaPropsOrStringArray": layout.form = .schemaOrTexts(schema(beside: message, table))
        default: fill(&layout, table.fields(of: message) ?? [:], table)
        }
        layouts[place] = layout
        return place
    }

    private mutating func schema(beside message: String, _ table: MessageTable) -> Int {
        place(of: (message.split(separator: ".").dropLast() + ["JSONSchemaProps"]).joined(separator: "."), table)
    }

    private mutating func fill(_ layout: inout Layout, _ fields: [Int: MessageTable.Field], _ table: MessageTable) {
        for (number, field) in fields.sorted(by: { $0.key < $1.key }) {
            let kind: Kind =
                switch field.type {
                case "string": .string
                case "bytes": .bytes
                case "bool": .bool
                case "int32", "int64", "uint32", "uint64": .integer
                case "double": .double
                default: .message(place(of: field.type, table))
                }
            let index = layout.fields.count
            layout.fields.append(Field(number: UInt64(number), kind: kind, role: field.role))
            if field.role == .inlined, case .message(let inner) = kind {
                for member in layouts[inner].byMember.keys where layout.byMember[member] == nil {
                    layout.byMember[member] = index
                }
            } else {
                layout.byMember[field.name] = index
            }
        }
    }
}
