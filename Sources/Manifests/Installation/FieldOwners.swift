// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Who owns which fields of an object (`metadata.managedFields`), as far as an addon's owner asks.
struct FieldOwners {
    /// The name under which addons are applied.
    static let manager = "catbird"

    private let entries: [JSON]

    init(_ object: KubeObject) { entries = object.metadata["managedFields"].array ?? [] }

    /// Nobody is written down: the object is of a version that did not do so, or somebody has cleared the list.
    var isEmpty: Bool { entries.isEmpty }

    var managers: Set<String> { Set(entries.compactMap { $0["manager"].string }) }

    /// Whether the manager is one of Catbird's programs.
    static func isOwn(_ manager: String) -> Bool { manager == Self.manager || manager.hasPrefix("\(Self.manager)-") }

    /// Whether nobody but Catbird's programs has set a field that is not status.
    var isOursAlone: Bool {
        entries.allSatisfy {
            $0["subresource"].string == "status" || Self.isOwn($0["manager"].string ?? "")
        }
    }

    /// The same of what lies below one field of the object.
    func areOurs(field: String) -> Bool {
        entries.allSatisfy { $0["fieldsV1"]["f:\(field)"] == nil || Self.isOwn($0["manager"].string ?? "") }
    }

    var areApplied: Bool { entries.contains { isOurs($0, "Apply") } }

    /// Whether it is the entry of the addons' manager for an operation, not on a subresource.
    private func isOurs(_ entry: JSON, _ operation: String) -> Bool {
        entry["manager"].string == Self.manager && entry["operation"].string == operation
            && (entry["subresource"].string ?? "").isEmpty
    }

    /// The list in which what Catbird wrote by other verbs, as its versions before server-side apply did, is what it
    /// applied: so that a field that is not shipped any more goes away, and one that its user has changed since is seen
    /// to be theirs. Nil when there is nothing to change.
    var asApplied: JSON? {
        let updates = entries.filter { isOurs($0, "Update") }
        guard let latest = updates.last else { return nil }
        let earlier = entries.first { isOurs($0, "Apply") }
        var entry: JSON = [
            "manager": JSON(Self.manager), "operation": "Apply", "fieldsType": "FieldsV1",
            "apiVersion": latest["apiVersion"] ?? "v1",
        ]
        if let time = latest["time"] { entry["time"] = time }
        entry["fieldsV1"] = (updates + [earlier].compactMap(\.self)).reduce([:]) {
            Self.union($0, $1["fieldsV1"] ?? [:])
        }
        return .array(entries.filter { !isOurs($0, "Update") && !isOurs($0, "Apply") } + [entry])
    }

    /// FieldsV1 is a tree of objects whose leaves are empty.
    private static func union(_ left: JSON, _ right: JSON) -> JSON {
        guard let other = right.object else { return left }
        return other.reduce(left) { result, member in
            var result = result
            result[member.key] = union(result[member.key] ?? [:], member.value)
            return result
        }
    }
}
