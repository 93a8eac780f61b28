// SPDX-License-Identifier: Apache-2.0

import Values

/// A column of the table that `kubectl get` shows.
public struct TableColumn: Sendable {
    public let name: String
    /// string, integer, number, boolean or date.
    public let type: String
    /// `name` for the column that names the object.
    public let format: String
    /// Above 0: shown only with `-o wide`.
    public let priority: Int
    let cell: @Sendable (KubeObject, Timestamp) -> JSON

    init(
        _ name: String, type: String = "string", format: String = "", wide: Bool = false,
        _ cell: @escaping @Sendable (KubeObject, Timestamp) -> JSON
    ) {
        self.name = name
        self.type = type
        self.format = format
        priority = wide ? 1 : 0
        self.cell = cell
    }

    /// A column that does not depend on the time.
    init(
        _ name: String, type: String = "string", wide: Bool = false, _ cell: @escaping @Sendable (KubeObject) -> JSON
    ) {
        self.init(name, type: type, wide: wide) { object, _ in cell(object) }
    }

    static let objectName = TableColumn("Name", format: "name") { object, _ in JSON(object.name) }

    static let age = TableColumn("Age") { object, now in
        JSON(HumanDuration.age(since: object.creationTimestamp, now: now))
    }

    static let createdAt = TableColumn("Created At", type: "date") { object, _ in
        object.metadata["creationTimestamp"] ?? "<unknown>"
    }

    /// A member's text; `<none>` or what else stands for a missing or empty one.
    static func text(_ name: String, _ path: String, missing: String = "<none>", wide: Bool = false) -> TableColumn {
        let steps = path.split(separator: ".").map(String.init)
        return TableColumn(name, wide: wide) { object in
            var value: JSON? = object.json
            for step in steps { value = value[step] }
            return switch value {
            case .string(let text)?: JSON(text.isEmpty ? missing : text)
            case .int(let number)?: JSON(String(number))
            case .bool(let flag)?: JSON(String(flag))
            default: JSON(missing)
            }
        }
    }

    /// A member's number; 0 when it is missing.
    static func number(_ name: String, _ path: String) -> TableColumn {
        let steps = path.split(separator: ".").map(String.init)
        return TableColumn(name, type: "integer") { object in
            var value: JSON? = object.json
            for step in steps { value = value[step] }
            return JSON(value.int ?? 0)
        }
    }

    /// The column's entry in `columnDefinitions`.
    var definition: JSON {
        [
            "name": JSON(name), "type": JSON(type), "format": JSON(format), "description": "",
            "priority": JSON(priority),
        ]
    }
}
