// SPDX-License-Identifier: Apache-2.0

public import Values

/// Who owns what after a write that is no apply.
///
/// Every write passes here, so the entries stay JSON: one is taken apart only when the write touches what it names, or
/// gives its writer something new.
extension ServerSideApply {
    /// So many writers besides appliers are kept apart.
    static let maximumUpdaters = 10
    /// Who stands for the oldest of the others.
    static let ancientChanges = "ancient-changes"

    /// `metadata.managedFields` after `writer` has put `new` in the place of `old`: the writer has what it changed, and
    /// nobody what is gone. Nil when nobody owns anything.
    ///
    /// - Parameter time: RFC 3339, of the writer's entry when it changed something.
    public func updated(
        _ new: KubeObject, from old: KubeObject, _ list: JSON?, _ writer: ManagedFields.Writer, time: String
    ) -> JSON? {
        var differences = VersionedFields(self, writer.apiVersion).differences(from: old, to: new)
        let own = differences(writer.apiVersion) ?? FieldTree.Difference()
        var entries: [JSON] = []
        var isKnown = false
        for entry in list.array ?? [] {
            guard let owner = ManagedFields.Writer(entry), let difference = differences(owner.apiVersion) else {
                continue
            }
            if owner.isSame(writer) {
                isKnown = true
                if let grown = grown(entry, by: difference, time) { entries.append(grown) }
            } else if let rest = rest(entry, without: difference) {
                entries.append(rest)
            }
        }
        if !isKnown, !own.changed.isEmpty {
            entries.append(ManagedFields.Entry(writer: writer, time: time, fields: own.changed).json)
        }
        Self.mergeOldest(&entries)
        return entries.isEmpty ? nil : .array(ManagedFields.sorted(entries))
    }

    /// A new object's owner has all its fields; nil when there are none.
    public func created(_ object: KubeObject, _ writer: ManagedFields.Writer, time: String) -> JSON? {
        let fields = fields(object, subresource: writer.subresource)
        return fields.isEmpty ? nil : [ManagedFields.Entry(writer: writer, time: time, fields: fields).json]
    }

    private func grown(_ entry: JSON, by difference: FieldTree.Difference, _ time: String) -> JSON? {
        var entry = entry
        if !difference.changed.isEmpty { entry["time"] = JSON(time) }
        let json = entry["fieldsV1"]
        if difference.changed.isContained(inFieldsV1: json), !difference.removed.meets(fieldsV1: json) { return entry }
        let had = FieldSet(fieldsV1: json ?? [:]) ?? FieldSet()
        return Self.entry(entry, with: had.union(difference.changed).subtracting(difference.removed))
    }

    private func rest(_ entry: JSON, without difference: FieldTree.Difference) -> JSON? {
        let json = entry["fieldsV1"]
        guard difference.changed.meets(fieldsV1: json) || difference.removed.meets(fieldsV1: json) else { return entry }
        let had = FieldSet(fieldsV1: json ?? [:]) ?? FieldSet()
        return Self.entry(entry, with: had.subtracting(difference.changed).subtracting(difference.removed))
    }

    private static func entry(_ entry: JSON, with fields: FieldSet) -> JSON? {
        guard !fields.isEmpty else { return nil }
        var entry = entry
        entry["fieldsV1"] = fields.fieldsV1
        return entry
    }

    /// Merges the oldest writers of one version into one entry, until there are no more than `maximumUpdaters`.
    ///
    /// Source: k8s.io/apimachinery, `util/managedfields`, whose bucket begins with the second writer of a version.
    private static func mergeOldest(_ entries: inout [JSON]) {
        var updaters = entries.filter { $0["operation"].string == ManagedFields.Operation.update.rawValue }
        guard updaters.count > maximumUpdaters else { return }
        let appliers = entries.filter { $0["operation"].string != ManagedFields.Operation.update.rawValue }
        func isBucket(_ entry: JSON) -> Bool { entry["manager"].string == ancientChanges }
        // What has been merged before takes what is merged now.
        updaters = updaters.filter(isBucket) + ManagedFields.sorted(updaters.filter { !isBucket($0) })
        var kept: [JSON] = []
        // By version: where its bucket, or the first writer that may become one, stands among those kept.
        var places: [String: Int] = [:]
        var count = updaters.count
        for updater in updaters {
            let version = updater["apiVersion"].string ?? ""
            guard count > maximumUpdaters, let place = places[version] else {
                places[version] = places[version] ?? kept.count
                kept.append(updater)
                continue
            }
            func fields(_ entry: JSON) -> FieldSet { FieldSet(fieldsV1: entry["fieldsV1"] ?? [:]) ?? FieldSet() }
            let writer = ManagedFields.Writer(manager: ancientChanges, operation: .update, apiVersion: version)
            kept[place] =
                ManagedFields.Entry(
                    writer: writer, time: updater["time"].string, fields: fields(kept[place]).union(fields(updater))
                ).json
            count -= 1
        }
        entries = appliers + kept
    }
}
