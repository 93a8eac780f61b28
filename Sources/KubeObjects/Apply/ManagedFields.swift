// SPDX-License-Identifier: Apache-2.0

public import Values

/// Who set which fields of an object: `metadata.managedFields`.
public struct ManagedFields: Sendable, Hashable {
    public enum Operation: String, Sendable, Hashable {
        case apply = "Apply"
        case update = "Update"
    }

    /// Who writes: a manager's name, how, and through which subresource.
    public struct Writer: Sendable, Hashable {
        public let manager: String
        public let operation: Operation
        public let apiVersion: String
        /// Empty for the object itself.
        public let subresource: String

        public init(manager: String, operation: Operation, apiVersion: String, subresource: String = "") {
            self.manager = manager
            self.operation = operation
            self.apiVersion = apiVersion
            self.subresource = subresource
        }

        /// Of an entry of the list; nil for what is none.
        init?(_ entry: JSON) {
            guard let operation = entry["operation"].string.flatMap(Operation.init(rawValue:)) else { return nil }
            self.init(
                manager: entry["manager"].string ?? "unknown", operation: operation,
                apiVersion: entry["apiVersion"].string ?? "", subresource: entry["subresource"].string ?? "")
        }

        /// An applier is the same one in every version.
        func isSame(_ other: Writer) -> Bool {
            manager == other.manager && operation == other.operation && subresource == other.subresource
                && (operation == .apply || apiVersion == other.apiVersion)
        }
    }

    public struct Entry: Sendable, Hashable {
        public var writer: Writer
        public var time: String?
        public var fields: FieldSet

        var json: JSON {
            var json: JSON = [
                "manager": JSON(writer.manager), "operation": JSON(writer.operation.rawValue),
                "apiVersion": JSON(writer.apiVersion),
            ]
            if let time { json["time"] = JSON(time) }
            json["fieldsType"] = "FieldsV1"
            json["fieldsV1"] = fields.fieldsV1
            if !writer.subresource.isEmpty { json["subresource"] = JSON(writer.subresource) }
            return json
        }
    }

    public private(set) var entries: [Entry] = []

    public init() {}

    /// From the list of an object; entries that cannot be read are left out, as `[{}]` is, which clears the list.
    public init(_ list: JSON?) {
        for item in list.array ?? [] {
            guard let writer = Writer(item), let fields = FieldSet(fieldsV1: item["fieldsV1"] ?? [:]) else { continue }
            entries.append(Entry(writer: writer, time: item["time"].string, fields: fields))
        }
    }

    public var isEmpty: Bool { entries.isEmpty }

    /// Appliers first, then by time and name, as Kubernetes orders them.
    public var json: JSON { .array(Self.sorted(entries.map(\.json))) }

    /// Entries as they stand in an object, in Kubernetes' order.
    static func sorted(_ entries: [JSON]) -> [JSON] {
        guard entries.count > 1 else { return entries }
        let keyed = entries.map { entry in
            (
                [
                    entry["operation"].string ?? "", entry["time"].string ?? "", entry["manager"].string ?? "",
                    entry["apiVersion"].string ?? "", entry["subresource"].string ?? "",
                ], entry
            )
        }
        return keyed.sorted { $0.0.lexicographicallyPrecedes($1.0) }.map(\.1)
    }

    func entry(of writer: Writer) -> Entry? { entries.first { $0.writer.isSame(writer) } }

    public func fields(of writer: Writer) -> FieldSet? { entries.first { $0.writer.isSame(writer) }?.fields }

    /// What anybody has.
    public var all: FieldSet { entries.reduce(FieldSet()) { $0.union($1.fields) } }

    /// Gives a writer exactly these fields; none removes it. The time changes with the fields.
    public mutating func set(_ writer: Writer, _ fields: FieldSet, at time: String) {
        guard let index = entries.firstIndex(where: { $0.writer.isSame(writer) }) else {
            if !fields.isEmpty { entries.append(Entry(writer: writer, time: time, fields: fields)) }
            return
        }
        if fields.isEmpty {
            entries.remove(at: index)
        } else if entries[index].fields != fields || entries[index].writer != writer {
            entries[index] = Entry(writer: writer, time: time, fields: fields)
        }
    }

    /// Gives each owner what `change` makes of its fields; those who have nothing left go.
    public mutating func adjust(_ change: (Entry) -> FieldSet) {
        for index in entries.indices { entries[index].fields = change(entries[index]) }
        entries.removeAll { $0.fields.isEmpty }
    }
}
