// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Which objects of a collection a list, a watch or a deletion is about.
struct Selection: Sendable {
    let labels: LabelSelector
    let fields: FieldSelector
    let type: ResourceType
    /// The one object that the path names.
    let name: String?

    init(_ context: RequestContext) throws(StatusError) {
        type = context.type
        do {
            labels = try LabelSelector(context.request.query("labelSelector") ?? "")
        } catch {
            throw .badRequest(error.description)
        }
        do {
            fields = try FieldSelector(context.request.query("fieldSelector") ?? "")
        } catch {
            throw .badRequest(error.description)
        }
        if let problem = fields.problem(for: type) { throw .badRequest(problem) }
        name = context.info.name
    }

    var isEmpty: Bool { labels.isEmpty && fields.isEmpty && name == nil }

    func matches(_ stored: StoredObject) -> Bool {
        if isEmpty { return true }
        if let name, name != stored.name { return false }
        for term in fields.terms {
            switch term.field {
            case "metadata.name":
                guard (stored.name == term.value) == term.isEqual else { return false }
            case "metadata.namespace":
                guard ((stored.namespace ?? "") == term.value) == term.isEqual else { return false }
            default:
                guard VersionConversion.selectsStored(type) else {
                    guard fields.matches(VersionConversion.object(stored, as: type), of: type) else {
                        return false
                    }
                    continue
                }
                guard let value = stored.attributes.fields[term.field], (value == term.value) == term.isEqual else {
                    return false
                }
            }
        }
        return labels.isEmpty || labels.matches(stored.attributes.labels)
    }
}

extension StoredObject {
    private var path: Substring { key.dropFirst(resource.prefix.count) }

    var name: String { path.split(separator: "/").last.map(String.init) ?? "" }

    /// Nil for objects of the whole cluster.
    var namespace: String? {
        let parts = path.split(separator: "/")
        return parts.count > 1 ? String(parts[0]) : nil
    }
}
