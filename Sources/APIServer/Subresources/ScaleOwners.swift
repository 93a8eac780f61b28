// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// Who owns an object's replicas, in the object's own list of owners and in that of its Scale.
///
/// Source: k8s.io/apimachinery, `util/managedfields`, ScaleHandler.
struct ScaleOwners {
    private static let inScale = FieldSet(path: ["f:spec", "f:replicas"])

    private let type: ResourceType
    private let registry: ResourceRegistry

    init(_ type: ResourceType, _ registry: ResourceRegistry) {
        self.type = type
        self.registry = registry
    }

    /// Where a type has its replicas.
    static func replicas(_ type: ResourceType) -> [String] { type.custom?.scale?.specReplicas ?? ["spec", "replicas"] }

    /// The replicas of the object as a version names them; nil for one that is not served.
    private func path(_ apiVersion: String) -> [String]? {
        registry.resources.first { $0.apiVersion == apiVersion && $0.storage == type.storage }.map {
            Self.replicas($0).map { "f:\($0)" }
        }
    }

    /// The owners of the replicas, as owners of the Scale's.
    func ofScale(_ parent: ManagedFields) -> ManagedFields {
        var scale = ManagedFields()
        for entry in parent.entries {
            guard let path = path(entry.writer.apiVersion), entry.fields.contains(path) else { continue }
            scale.set(Self.writer(entry.writer, "autoscaling/v1"), Self.inScale, at: entry.time ?? "")
        }
        return scale
    }

    /// The object's owners after those of its Scale have changed: who has lost the replicas there loses them here.
    func ofParent(_ parent: ManagedFields, _ scale: ManagedFields) -> ManagedFields {
        var result = ManagedFields()
        var rest = scale.entries
        for entry in parent.entries {
            // What is said of a version that is not served any more goes.
            guard let path = path(entry.writer.apiVersion) else { continue }
            var fields = entry.fields
            if fields.contains(path) {
                let owner = Self.writer(entry.writer, "autoscaling/v1")
                if let index = rest.firstIndex(where: { $0.writer == owner }) {
                    rest.remove(at: index)
                } else {
                    fields = fields.subtracting(FieldSet(path: path[...]))
                }
            }
            result.set(entry.writer, fields, at: entry.time ?? "")
        }
        let own = Self.replicas(type).map { "f:\($0)" }
        for entry in rest {
            let writer = Self.writer(entry.writer, type.apiVersion)
            let had = result.fields(of: writer) ?? FieldSet()
            result.set(writer, had.union(FieldSet(path: own[...])), at: entry.time ?? "")
        }
        return result
    }

    private static func writer(_ writer: ManagedFields.Writer, _ apiVersion: String) -> ManagedFields.Writer {
        ManagedFields.Writer(
            manager: writer.manager, operation: writer.operation, apiVersion: apiVersion,
            subresource: writer.subresource)
    }
}
