// SPDX-License-Identifier: Apache-2.0

import Values

/// What gnostic's messages for both versions of OpenAPI write alike, under numbers of their own.
extension WireWriter {
    /// A list of named things, an entry a member: its name, and the message that stands for its value.
    mutating func entries(_ number: Int, _ members: JSON?, _ value: (inout WireWriter, JSON) -> Void) {
        for (name, member) in members.object ?? [:] {
            message(number) { entry in
                entry.text(1, name)
                entry.message(2) { value(&$0, member) }
            }
        }
    }

    /// Members that have a number each; those without one are left out.
    mutating func numbered(_ members: JSON?, _ numbers: [String: Int], _ value: (inout WireWriter, JSON) -> Void) {
        for (name, member) in members.object ?? [:] {
            guard let number = numbers[name] else { continue }
            message(number) { value(&$0, member) }
        }
    }

    /// What a schema asks of its values, from `multipleOf` to `enum`: the numbers follow one another.
    mutating func constraints(from first: Int, _ schema: JSON) {
        number(first, schema["multipleOf"].double)
        number(first + 1, schema["maximum"].double)
        flag(first + 2, schema["exclusiveMaximum"].bool)
        number(first + 3, schema["minimum"].double)
        flag(first + 4, schema["exclusiveMinimum"].bool)
        integer(first + 5, schema["maxLength"].int)
        integer(first + 6, schema["minLength"].int)
        text(first + 7, schema["pattern"].string)
        integer(first + 8, schema["maxItems"].int)
        integer(first + 9, schema["minItems"].int)
        flag(first + 10, schema["uniqueItems"].bool)
        integer(first + 11, schema["maxProperties"].int)
        integer(first + 12, schema["minProperties"].int)
        for name in schema["required"].array ?? [] { text(first + 13, name.string) }
        for value in schema["enum"].array ?? [] { any(first + 14, value) }
    }

    /// Members of a vendor's own.
    mutating func extensions(_ number: Int, _ value: JSON) {
        for (name, member) in value.object ?? [:] where name.hasPrefix("x-") {
            message(number) { entry in
                entry.text(1, name)
                entry.any(2, member)
            }
        }
    }

    /// gnostic keeps values of any kind as YAML, of which JSON is a part.
    mutating func any(_ number: Int, _ value: JSON?) {
        guard let value else { return }
        message(number) { $0.text(2, value.text()) }
    }
}
