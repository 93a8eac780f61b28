// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for the metadata of every object.
enum MetadataRules {
    private static let annotationLimit = 256 * 1024

    static func inspect(_ inspection: inout Inspection, isNamespaced: Bool, nameRule: KindDescription.NameRule) {
        let metadata = inspection.object["metadata"] ?? .object([:])
        name(&inspection, metadata, nameRule)
        if isNamespaced {
            if let namespace = metadata["namespace"].string, !namespace.isEmpty {
                inspection.invalid("metadata.namespace", JSON(namespace), Names.labelProblems(namespace))
            } else {
                inspection.report(.required("metadata.namespace"))
            }
        } else if let namespace = metadata["namespace"].string, !namespace.isEmpty {
            inspection.report(.forbidden("metadata.namespace", "not allowed on this type"))
        }
        labels(&inspection, metadata["labels"], "metadata.labels")
        annotations(&inspection, metadata["annotations"], "metadata.annotations")
        owners(&inspection, metadata["ownerReferences"].array ?? [])
        for finalizer in metadata["finalizers"].array?.compactMap(\.string) ?? [] {
            inspection.invalid("metadata.finalizers", JSON(finalizer), Names.qualifiedNameProblems(finalizer))
        }
        update(&inspection)
    }

    private static func name(_ inspection: inout Inspection, _ metadata: JSON, _ rule: KindDescription.NameRule) {
        let name = metadata["name"].string ?? ""
        if let base = metadata["generateName"].string, !base.isEmpty {
            // The end is replaced by random characters, so a dash may stand there.
            let stem = base.hasSuffix("-") ? base.dropLast() + "a" : base[...]
            inspection.invalid("metadata.generateName", JSON(base), rule.problems(String(stem)))
        }
        if name.isEmpty {
            inspection.report(.required("metadata.name", "name or generateName is required"))
        } else if inspection.old == nil {
            inspection.invalid("metadata.name", JSON(name), rule.problems(name))
        }
    }

    /// Keys and values of labels, also of templates and selectors.
    static func labels(_ inspection: inout Inspection, _ labels: JSON?, _ path: String) {
        for (key, value) in labels.object ?? [:] {
            inspection.invalid(path, JSON(key), Names.qualifiedNameProblems(key))
            if let text = value.string { inspection.invalid(path, value, Names.labelValueProblems(text)) }
        }
    }

    /// Keys and sizes of annotations, also of templates.
    static func annotations(_ inspection: inout Inspection, _ annotations: JSON?, _ path: String) {
        var size = 0
        for (key, value) in annotations.object ?? [:] {
            inspection.invalid(path, JSON(key), Names.qualifiedNameProblems(key.lowercased()))
            size += key.utf8.count + (value.string?.utf8.count ?? 0)
        }
        if size > annotationLimit {
            inspection.report(FieldError(.tooLong, path, detail: "may not be more than \(annotationLimit) bytes"))
        }
    }

    private static func owners(_ inspection: inout Inspection, _ owners: [JSON]) {
        var controllers = 0
        for (index, owner) in owners.enumerated() {
            let path = "metadata.ownerReferences[\(index)]"
            for field in ["apiVersion", "kind", "name", "uid"] where (owner[field].string ?? "").isEmpty {
                inspection.report(.invalid("\(path).\(field)", owner[field] ?? "", "must not be empty"))
            }
            if owner["controller"].bool == true { controllers += 1 }
        }
        if controllers > 1 {
            inspection.report(
                .invalid(
                    "metadata.ownerReferences", .array(owners),
                    "Only one reference can have Controller set to true. Found \(controllers) references"))
        }
    }

    private static func update(_ inspection: inout Inspection) {
        guard inspection.old != nil else { return }
        for field in ["name", "namespace", "uid", "creationTimestamp"] { inspection.immutable("metadata.\(field)") }
    }
}
