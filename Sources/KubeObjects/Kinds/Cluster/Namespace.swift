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
        },
        rules: { inspection in
            for finalizer in inspection.object["spec"]["finalizers"].array?.compactMap(\.string) ?? [] {
                inspection.invalid("spec.finalizers", JSON(finalizer), Names.qualifiedNameProblems(finalizer))
                if !finalizer.contains("/"), !["kubernetes", "orphan", "foregroundDeletion"].contains(finalizer) {
                    inspection.report(
                        .invalid(
                            "spec.finalizers", JSON(finalizer),
                            "name is neither a standard finalizer name nor is it fully qualified"))
                }
            }
        },
        statusRules: { inspection in
            let isDeleted = inspection.object["metadata"]["deletionTimestamp"] != nil
            let wanted = isDeleted ? "Terminating" : "Active"
            guard inspection.object["status"]["phase"].string != wanted else { return }
            inspection.report(
                .invalid(
                    "status.Phase", inspection.object["status"]["phase"] ?? "",
                    "may only be '\(wanted)' if `deletionTimestamp` is \(isDeleted ? "not empty" : "empty")"))
        })
}
