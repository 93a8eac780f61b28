// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What a kubelet's message says is not there, and the command that makes it.
struct MissingObject {
    let reason: String
    let command: String

    /// Nil when the message tells of nothing of the kind.
    init?(_ message: String, in pod: KubeObject) {
        let space = pod.inNamespace
        if let name = message.quoted(after: "configmap "), message.contains("not found") {
            reason = "MissingConfigMap"
            command = "kubectl create configmap \(name)\(space)" + Self.literals(pod, "configMap", name)
        } else if let name = message.quoted(after: "secret "), message.contains("not found") {
            reason = "MissingSecret"
            command = "kubectl create secret generic \(name)\(space)" + Self.literals(pod, "secret", name)
        } else if let (key, kind, owner) = Self.key(message) {
            reason = "MissingKey"
            let data: JSON = [kind == "Secret" ? "stringData" : "data": [key: "VALUE"]]
            command = "kubectl patch \(kind.lowercased()) \(owner)\(space) -p \(data.text().shellQuoted)"
        } else if let name = message.quoted(after: "persistentvolumeclaim ") {
            reason = "MissingClaim"
            command = "kubectl get persistentvolumeclaim \(name)\(space)"
        } else {
            return nil
        }
    }

    /// `couldn't find key pw in Secret f/login`, and `references non-existent config key: pw` of volumes.
    private static func key(_ message: String) -> (key: String, kind: String, name: String)? {
        guard let start = message.firstRange(of: "couldn't find key ") else { return nil }
        let words = message[start.upperBound...].split(separator: " ")
        guard words.count >= 4, words[1] == "in", words[2] == "Secret" || words[2] == "ConfigMap" else { return nil }
        let owner = words[3].split(separator: "/").last.map(String.init) ?? ""
        return (String(words[0]), String(words[2]), owner)
    }

    /// ` --from-literal=KEY=VALUE` for each key that the pod asks for by name.
    private static func literals(_ pod: KubeObject, _ kind: String, _ name: String) -> String {
        var keys: Set<String> = []
        for container in (pod["spec"]["initContainers"].array ?? []) + (pod["spec"]["containers"].array ?? []) {
            for variable in container["env"].array ?? [] {
                let source = variable["valueFrom"]["\(kind)KeyRef"]
                if source["name"].string == name, let key = source["key"].string { keys.insert(key) }
            }
        }
        for volume in pod["spec"]["volumes"].array ?? [] {
            let source = volume[kind]
            guard (source["name"] ?? source["secretName"]).string == name else { continue }
            for item in source["items"].array ?? [] { if let key = item["key"].string { keys.insert(key) } }
        }
        if keys.isEmpty { keys = ["KEY"] }
        return keys.sorted().map { " --from-literal=\($0)=VALUE" }.joined()
    }

    /// The command that makes what a hostPath volume asks for on the pod's node.
    static func hostPath(_ message: String, _ pod: KubeObject, _ profile: String) -> String? {
        guard message.contains("hostPath type check failed: "), !profile.isEmpty,
            let node = pod["spec"]["nodeName"].string
        else { return nil }
        let volumes = (pod["spec"]["volumes"].array ?? []).compactMap { $0["hostPath"] }
        guard let volume = volumes.first(where: { message.contains(": \($0["path"].string ?? "?") ") }),
            let path = volume["path"].string
        else { return nil }
        switch volume["type"].string {
        case "Directory": return "catbird ssh -p \(profile) -n \(node) -- mkdir -p \(path.shellQuoted)"
        case "File": return "catbird ssh -p \(profile) -n \(node) -- touch \(path.shellQuoted)"
        default: return nil
        }
    }
}
