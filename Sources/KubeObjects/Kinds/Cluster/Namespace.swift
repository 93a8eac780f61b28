// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let namespace = KindDescription(
        "", "Namespace", name: .label,
        selectable: ["status.phase": SelectableField(path: "status.phase")],
        columns: [.objectName, .text("Status", "status.phase", missing: ""), .age],
        initialStatus: { _ in ["phase": "Active"] },
        complete: { namespace in
            // Whoever deletes a namespace empties it first, and then takes this away through /finalize.
            namespace.make("spec") { spec in
                let finalizers = spec["finalizers"].array ?? []
                if !finalizers.contains("kubernetes") { spec["finalizers"] = .array(finalizers + ["kubernetes"]) }
            }
        },
        keep: { namespace, old in
            // Only /finalize takes finalizers of the content away.
            namespace.make("spec") { $0["finalizers"] = old["spec"]["finalizers"] }
        },
        defaults: { namespace in
            guard let name = namespace["metadata"]["name"].string, !name.isEmpty else { return }
            namespace.make("metadata") { metadata in
                metadata.make("labels") { $0["kubernetes.io/metadata.name"] = JSON(name) }
            }
        })
}
