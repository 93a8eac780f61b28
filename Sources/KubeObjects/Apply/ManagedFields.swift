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

        /// An applier is the same one in every version.
        fileprivate func isSame(_ other: Writer) -> Bool {
            manager == other.manager && operation == other.operation && subresource == other.subresource
                && (operation == .apply || apiVersion == other.apiVersion)
        }
    }

    public struct Entry: Sendable, Hashable {
        public var writer: Writer
        public var time: String?
        public var fields: FieldSet
    }

    public private(set) var entries: [Entry] = []

    public init() {}

    /// From the list of an object; entries that cannot be read are left out, as `[{}]` is, which clears the list.
    public init(_ list: JSON?) {
        for item in list.array ?? [] {
            guard let operation = item["operation"].string.flatMap(Operation.init(rawValue:)),
                let fields = FieldSet(fieldsV1: item["fieldsV1"] ?? [:])
            else { continue }
            entries.append(
                Entry(
                    writer: Writer(
                        manager: item["manager"].string ?? "unknown", operation: operation,
                        apiVersion: item["apiVersion"].string ?? "", subresource: item["subresource"].string ?? ""),
                    time: item["time"].string, fields: fields))
        }
    }

    public var isEmpty: Bool { entries.isEmpty }

    /// Appliers first, then by time and name, as Kubernetes orders them.
    public var json: JSON {
        let sorted = entries.sorted { left, right in
            if left.writer.operation != right.writer.operation { return left.writer.operation == .apply }
            return (left.time ?? "", left.writer.manager, left.writer.subresource)
                < (right.time ?? "", right.writer.manager, right.writer.subresource)
        }
        return .array(
            sorted.map { entry in
                var json: JSON = [
                    "manager": JSON(entry.writer.manager), "operation": JSON(entry.writer.operation.rawValue),
                    "apiVersion": JSON(entry.writer.apiVersion),
                ]
                if let time = entry.time { json["time"] = JSON(time) }
                json["fieldsType"] = "FieldsV1"
                json["fieldsV1"] = entry.fields.fieldsV1
                if !entry.writer.subresource.isEmpty { json["subresource"] = JSON(entry.writer.subresource) }
                return json
            })
    }

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

    /// Takes fields from everybody but one writer; those who have nothing left go.
    public mutating func take(_ fields: FieldSet, fromAllBut writer: Writer?) {
        guard !fields.isEmpty else { return }
        for index in entries.indices where !(writer.map { entries[index].writer.isSame($0) } ?? false) {
            entries[index].fields = entries[index].fields.subtracting(fields)
        }
        entries.removeAll { $0.fields.isEmpty }
    }

    /// Who of the others has one of these fields.
    func owners(of fields: FieldSet, besides writer: Writer) -> [(Writer, FieldSet)] {
        entries.compactMap { entry in
            guard !entry.writer.isSame(writer) else { return nil }
            let common = entry.fields.intersection(fields)
            return common.isEmpty ? nil : (entry.writer, common)
        }
    }
}
