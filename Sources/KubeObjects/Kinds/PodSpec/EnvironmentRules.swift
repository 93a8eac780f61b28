// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for a container's environment, and for fields of the pod that are handed to its containers.
enum EnvironmentRules {
    private static let sources = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"]
    private static let fields = [
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    ]
    /// What a file of a volume can hold of the pod.
    static let volumeFields = [
        "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
    ]
    private static let resources = [
        "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
        "requests.memory",
    ]
    /// The units that amounts can be counted in.
    private static let byteDivisors: Set<String> = [
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ]

    static func inspect(_ inspection: inout Inspection, _ container: JSON, at path: String) {
        inspection.each(container["env"], "\(path).env") { inspection, variable, place in
            inspection.requireText(variable["name"], "\(place).name", Names.environmentNameProblems)
            if let source = variable["valueFrom"] {
                self.source(&inspection, source, at: "\(place).valueFrom", value: variable["value"].string ?? "")
            }
        }
        inspection.each(container["envFrom"], "\(path).envFrom") { inspection, source, place in
            inspection.text(source["prefix"], "\(place).prefix", Names.environmentNameProblems)
            let kinds = ["configMapRef", "secretRef"].filter { source[$0] != nil }
            for kind in kinds {
                inspection.requireText(source[kind]["name"], "\(place).\(kind).name", Names.subdomainProblems)
            }
            if kinds.isEmpty {
                inspection.report(.invalid(place, "", "must specify one of: `configMapRef` or `secretRef`"))
            } else if kinds.count > 1 {
                inspection.report(.invalid(place, "", "may not have more than one field specified at a time"))
            }
        }
    }

    private static func source(_ inspection: inout Inspection, _ source: JSON, at path: String, value: String) {
        let present = sources.filter { source[$0] != nil }
        if let reference = source["fieldRef"] {
            field(&inspection, reference, at: "\(path).fieldRef", supported: fields)
        }
        if let reference = source["resourceFieldRef"] {
            resource(&inspection, reference, at: "\(path).resourceFieldRef", needsContainer: false)
        }
        for kind in ["configMapKeyRef", "secretKeyRef"] where source[kind] != nil {
            let name = source[kind]["name"].string ?? ""
            inspection.invalid("\(path).\(kind).name", JSON(name), Names.subdomainProblems(name))
            inspection.requireText(source[kind]["key"], "\(path).\(kind).key", Names.configKeyProblems)
        }
        if let reference = source["fileKeyRef"] {
            for member in ["key", "volumeName", "path"] {
                inspection.requireText(reference[member], "\(path).fileKeyRef.\(member)")
            }
            PathRules.local(&inspection, reference["path"], at: "\(path).fileKeyRef.path")
        }
        if present.isEmpty {
            inspection.report(
                .invalid(
                    path, "",
                    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
                ))
        } else if !value.isEmpty {
            inspection.report(.invalid(path, "", "may not be specified when `value` is not empty"))
        } else if present.count > 1 {
            inspection.report(.invalid(path, "", "may not have more than one field specified at a time"))
        }
    }

    /// A field of the pod: `metadata.labels['tier']` or one of `supported`.
    static func field(_ inspection: inout Inspection, _ reference: JSON, at path: String, supported: [String]) {
        guard inspection.requireText(reference["apiVersion"], "\(path).apiVersion") != nil,
            let text = inspection.requireText(reference["fieldPath"], "\(path).fieldPath")
        else { return }
        if let (name, key) = subscripted(text) {
            switch name {
            case "metadata.annotations":
                inspection.invalid(path, JSON(key), Names.qualifiedNameProblems(key.lowercased()))
            case "metadata.labels": inspection.invalid(path, JSON(key), Names.qualifiedNameProblems(key))
            default:
                inspection.report(
                    .invalid(
                        "\(path).fieldPath", JSON(text),
                        "error converting fieldPath: field label does not support subscript"))
            }
            return
        }
        if supported.contains(text) { return }
        // What is a field of a pod, but not one for this place, and what is none at all.
        if fields.contains(text) || volumeFields.contains(text) || text == "spec.restartPolicy"
            || text == "status.phase"
        {
            inspection.report(.notSupported("\(path).fieldPath", JSON(text), supported))
        } else {
            inspection.report(
                .invalid(
                    "\(path).fieldPath", JSON(text), "error converting fieldPath: field label not supported: \(text)"))
        }
    }

    /// `metadata.labels['tier']` as its two parts.
    private static func subscripted(_ text: String) -> (name: String, key: String)? {
        guard text.hasSuffix("']"), let open = text.firstRange(of: "['") else { return nil }
        return (String(text[..<open.lowerBound]), String(text[open.upperBound...].dropLast(2)))
    }

    /// An amount that a container may use or asks for.
    static func resource(_ inspection: inout Inspection, _ reference: JSON, at path: String, needsContainer: Bool) {
        let name = reference["resource"].string ?? ""
        let isHugePages = ["limits.hugepages-", "requests.hugepages-"].contains { name.hasPrefix($0) }
        if needsContainer, (reference["containerName"].string ?? "").isEmpty {
            inspection.report(.required("\(path).containerName"))
        } else if name.isEmpty {
            inspection.report(.required("\(path).resource"))
        } else if !resources.contains(name), !isHugePages {
            inspection.report(.notSupported("\(path).resource", JSON(name), resources))
        }
        guard let divisor = PodResources.quantity(reference["divisor"]), !divisor.isZero else { return }
        let kind = name.split(separator: ".", maxSplits: 1).last.map(String.init) ?? ""
        let (supported, word): (Set<String>, String)
        switch kind {
        case "cpu": (supported, word) = (["1m", "1"], "cpu")
        case "memory": (supported, word) = (byteDivisors, "memory")
        case "ephemeral-storage": (supported, word) = (byteDivisors, "local ephemeral storage")
        default:
            guard isHugePages else { return }
            (supported, word) = (byteDivisors, "hugepages")
        }
        guard !supported.contains(divisor.description) else { return }
        let list =
            word == "cpu" ? "1m and 1" : "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"
        inspection.report(
            .invalid(
                "\(path).divisor", JSON(name), "only divisor's values \(list) are supported with the \(word) resource"))
    }
}
