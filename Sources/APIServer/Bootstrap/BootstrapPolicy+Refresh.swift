// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// Gives the roles and bindings that an earlier version made what this version adds to them. Nothing is taken away
    /// from them, and one whose annotation says `"false"` is its user's own.
    func refreshPolicy() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (resource, wanted) in BootstrapPolicy.objects {
                guard let type = registry.resource(resource),
                    let stored = mirror.object(storageKey(type), nil, wanted.name)?.object(),
                    BootstrapPolicy.refreshed(stored, wanted) != stored
                else { continue }
                group.addTask {
                    _ = try await self.modify(type, nil, wanted.name, dryRun: false) { old in
                        let new = BootstrapPolicy.refreshed(old, wanted)
                        return new == old ? .keep : .write(new)
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}

extension BootstrapPolicy {
    /// A stored role or binding with what it lacks of a wanted one.
    static func refreshed(_ stored: KubeObject, _ wanted: KubeObject) -> KubeObject {
        guard stored.annotations["rbac.authorization.kubernetes.io/autoupdate"] == "true" else { return stored }
        var object = stored
        let labels = wanted.labels.filter { stored.labels[$0.key] != $0.value }
        if !labels.isEmpty { object.metadata["labels"] = JSON(stored.labels.merging(labels) { $1 }) }
        if wanted["aggregationRule"] != nil {
            // The rules of such a role are its controller's.
            if stored["aggregationRule"] == nil { object["aggregationRule"] = wanted["aggregationRule"] }
            return object
        }
        let held = (stored["rules"].array ?? []).map { PolicyRule($0) }
        let missing = (wanted["rules"].array ?? []).filter { rule in
            !PolicyRule(rule).atoms.allSatisfy { atom in held.contains { $0.covers(atom) } }
        }
        if !missing.isEmpty { object["rules"] = .array((stored["rules"].array ?? []) + missing) }
        let subjects = stored["subjects"].array ?? []
        let absent = (wanted["subjects"].array ?? []).filter { !subjects.contains($0) }
        if !absent.isEmpty { object["subjects"] = .array(subjects + absent) }
        return object
    }
}
