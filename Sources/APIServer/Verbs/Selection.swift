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
        if let name, !stored.isNamed(name) { return false }
        for term in fields.terms {
            switch term.field {
            case "metadata.name":
                guard stored.isNamed(term.value) == term.isEqual else { return false }
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
    /// Where the name begins in the key, behind the last slash.
    private var nameStart: String.Index {
        key.utf8.lastIndex(of: UInt8(ascii: "/")).map { key.utf8.index(after: $0) } ?? key.startIndex
    }

    var name: String { String(key[nameStart...]) }

    /// Whether that is its name, without taking the key apart.
    func isNamed(_ name: String) -> Bool {
        let key = key.utf8
        let slash = key.count - name.utf8.count - 1
        guard slash >= 0, key.suffix(name.utf8.count).elementsEqual(name.utf8) else { return false }
        return key[key.index(key.startIndex, offsetBy: slash)] == UInt8(ascii: "/") && !name.utf8.contains(0x2F)
    }

    /// Nil for objects of the whole cluster.
    var namespace: String? {
        let start = key.utf8.index(key.startIndex, offsetBy: resource.prefix.utf8.count, limitedBy: key.endIndex)
        guard let start, start < nameStart else { return nil }
        return String(key[start..<key.utf8.index(before: nameStart)])
    }
}
