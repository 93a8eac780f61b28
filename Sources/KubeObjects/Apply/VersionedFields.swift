// SPDX-License-Identifier: Apache-2.0

import Values

/// Fields of one object in the versions in which its owners know it: each entry of `metadata.managedFields` names paths
/// of its own version.
struct VersionedFields {
    private let rules: ServerSideApply
    /// The version that is written.
    private let apiVersion: String

    init(_ rules: ServerSideApply, _ apiVersion: String) {
        self.rules = rules
        self.apiVersion = apiVersion
    }

    /// What a write changed, in the words of each version that is asked for.
    struct Differences {
        private let fields: VersionedFields
        private let old: KubeObject
        private let new: KubeObject
        private var known: [String: FieldTree.Difference?] = [:]

        fileprivate init(_ fields: VersionedFields, _ old: KubeObject, _ new: KubeObject) {
            self.fields = fields
            self.old = old
            self.new = new
        }

        /// Without the fields that nobody owns; nil for a version that is not served.
        mutating func callAsFunction(_ version: String) -> FieldTree.Difference? {
            if let known = known[version] { return known }
            let made = fields.difference(old, new, in: version)
            known[version] = made
            return made
        }
    }

    func differences(from old: KubeObject, to new: KubeObject) -> Differences { Differences(self, old, new) }

    private func difference(_ old: KubeObject, _ new: KubeObject, in version: String) -> FieldTree.Difference? {
        var difference: FieldTree.Difference
        if version == apiVersion {
            difference = rules.tree.difference(old.json, new.json, rules.schema)
        } else {
            guard let type = type(version) else { return nil }
            difference = rules.tree.difference(
                type.converted(old).json, type.converted(new).json, rules.tree.registry.schema(of: type))
        }
        difference.changed = rules.tracked(difference.changed)
        difference.removed = rules.tracked(difference.removed)
        return difference
    }

    /// Another version of the type that is written.
    private func type(_ version: String) -> ResourceType? {
        guard let type = rules.type else { return nil }
        return rules.tree.registry.resources.first { $0.apiVersion == version && $0.storage == type.storage }
    }

    /// An owner's fields in the version that is written: those that go from the object when the owner's go from it in
    /// the owner's version.
    func translated(_ entry: ManagedFields.Entry, on live: KubeObject) -> FieldSet {
        guard entry.writer.apiVersion != apiVersion, let own = rules.type, let type = type(entry.writer.apiVersion)
        else { return entry.fields }
        let tree = rules.tree
        let seen = type.converted(live)
        let kept = tree.pruned(
            seen.json, tree.registry.schema(of: type), dropped: entry.fields, owned: ServerSideApply.identity)
        let difference = tree.difference(
            own.converted(seen).json, own.converted(KubeObject(kept)).json, rules.schema)
        return rules.tracked(difference.removed.union(difference.changed))
    }
}
