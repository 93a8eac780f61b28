// SPDX-License-Identifier: Apache-2.0

public import Values

/// Which names of a CustomResourceDefinition are free, and what its status says of it.
public struct NamesAcceptance: Sendable {
    /// Resource names of the group that others have: plural, singular and short.
    private var resources: Set<String> = []
    private var kinds: Set<String> = []

    /// - Parameter others: all definitions; those of other groups and `name` itself are passed over.
    public init(group: String, name: String, others: [KubeObject], registry: ResourceRegistry = .shared) {
        // Definitions of what the program serves by itself describe it: they are no rivals.
        for type in registry.resources where type.group == group && type.custom == nil {
            if "\(type.resource.resource).\(group)" == name { continue }
            resources.formUnion([type.resource.resource, type.singular] + type.shortNames)
            kinds.formUnion([type.kind, type.listKind])
        }
        for other in others where other.name != name && other["spec"]["group"].string == group {
            let names = other["status"]["acceptedNames"]
            resources.formUnion(
                ["plural", "singular"].compactMap { names[$0].string }
                    + (names["shortNames"].array?.compactMap(\.string) ?? []))
            kinds.formUnion(["kind", "listKind"].compactMap { names[$0].string })
        }
        resources.remove("")
        kinds.remove("")
    }

    /// The status of a definition: which of its names are accepted, whether it is served, and the versions in which
    /// objects may be stored. What else the status says stays.
    public func status(of definition: KubeObject, now: Timestamp) -> JSON {
        var status = definition["status"] ?? .object([:])
        let wanted = definition["spec"]["names"]
        let before = status["acceptedNames"]
        var accepted: [JSONObject.Member] = []
        var conflict: (reason: String, message: String)?
        func take(_ key: String, _ reason: String, _ taken: Set<String>) {
            guard let name = wanted[key].string else { return }
            guard taken.contains(name) else { return accepted.append((key, JSON(name))) }
            conflict = conflict ?? (reason, "\"\(name)\" is already in use")
            accepted.append((key, before[key] ?? ""))
        }
        take("plural", "PluralConflict", resources)
        take("singular", "SingularConflict", resources)
        let short = wanted["shortNames"].array?.compactMap(\.string) ?? []
        if let taken = short.first(where: resources.contains) {
            conflict = conflict ?? ("ShortNamesConflict", "\"\(taken)\" is already in use")
            if let kept = before["shortNames"] { accepted.append(("shortNames", kept)) }
        } else if !short.isEmpty {
            accepted.append(("shortNames", JSON(short)))
        }
        take("kind", "KindConflict", kinds)
        take("listKind", "ListKindConflict", kinds)
        if let categories = wanted["categories"] { accepted.append(("categories", categories)) }
        status["acceptedNames"] = .object(JSONObject(accepted))

        var conditions = Conditions(status["conditions"], now: now)
        if let conflict {
            conditions.set("NamesAccepted", "False", conflict.reason, conflict.message)
        } else {
            conditions.set("NamesAccepted", "True", "NoConflicts", "no conflicts found")
        }
        // Once served, a definition goes on under the names it has.
        if !conditions.isTrue("Established") {
            if conflict == nil {
                conditions.set("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
            } else {
                conditions.set("Established", "False", "NotAccepted", "not all names are accepted")
            }
        }
        status["conditions"] = conditions.json

        var stored = status["storedVersions"].array?.compactMap(\.string) ?? []
        let storage = (definition["spec"]["versions"].array ?? []).first { $0["storage"].bool ?? false }
        if let name = storage["name"].string, !stored.contains(name) { stored.append(name) }
        status["storedVersions"] = JSON(stored)
        return status
    }

    /// A list of conditions whose times change only with what they say.
    private struct Conditions {
        private(set) var list: [JSON]
        private let now: Timestamp

        init(_ json: JSON?, now: Timestamp) {
            list = json.array ?? []
            self.now = now
        }

        var json: JSON { .array(list) }

        func isTrue(_ type: String) -> Bool {
            list.contains { $0["type"].string == type && $0["status"].string == "True" }
        }

        mutating func set(_ type: String, _ status: String, _ reason: String, _ message: String) {
            let index = list.firstIndex { $0["type"].string == type }
            let same = index.map { list[$0]["status"].string == status } ?? false
            let condition: JSON = [
                "type": JSON(type), "status": JSON(status),
                "lastTransitionTime": same
                    ? index.flatMap { list[$0]["lastTransitionTime"] } ?? JSON(now.description)
                    : JSON(now.description),
                "reason": JSON(reason), "message": JSON(message),
            ]
            if let index { list[index] = condition } else { list.append(condition) }
        }
    }
}
