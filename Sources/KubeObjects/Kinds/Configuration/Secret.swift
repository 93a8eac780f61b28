// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let secret = KindDescription(
        "", "Secret",
        immutable: ["type"],
        selectable: ["type": SelectableField(path: "type")],
        columns: [
            .objectName, .text("Type", "type", missing: ""),
            TableColumn("Data", type: "integer") { JSON($0["data"].object?.count ?? 0) }, .age,
        ],
        defaults: { secret in
            secret.fillText("type", "Opaque")
            // Text that is written in clear replaces what stands encoded under the same key.
            guard let texts = secret["stringData"].object else { return }
            secret["stringData"] = nil
            secret.make("data") { data in
                for (key, value) in texts { data[key] = JSON(Base64.text(Array((value.string ?? "").utf8))) }
            }
        },
        rules: SecretRules.inspect)
}

private enum SecretRules {
    private static let account = "kubernetes.io/service-account.name"

    static func inspect(_ inspection: inout Inspection) {
        DataRules.inspect(&inspection, [], encoded: ["data"], tooLong: "data")
        let data = inspection.object["data"]
        func require(_ keys: [String]) {
            for key in keys where data[key] == nil { inspection.report(.required("data[\(key)]")) }
        }
        switch inspection.object["type"].string {
        case "kubernetes.io/tls": require(["tls.crt", "tls.key"])
        case "kubernetes.io/dockerconfigjson": json(&inspection, data, ".dockerconfigjson")
        case "kubernetes.io/dockercfg": json(&inspection, data, ".dockercfg")
        case "kubernetes.io/ssh-auth":
            if (data["ssh-privatekey"].string ?? "").isEmpty { inspection.report(.required("data[ssh-privatekey]")) }
        case "kubernetes.io/basic-auth":
            // One of them will do.
            if data["username"] == nil, data["password"] == nil { require(["username", "password"]) }
        case "kubernetes.io/service-account-token":
            inspection.requireText(
                inspection.object["metadata"]["annotations"][account], "metadata.annotations[\(account)]")
        default: break
        }
    }

    /// The value of a key must be an object of JSON; what it holds is not shown.
    private static func json(_ inspection: inout Inspection, _ data: JSON?, _ key: String) {
        guard let value = data[key] else {
            inspection.report(.required("data[\(key)]"))
            return
        }
        let bytes = value.string.flatMap { Base64.bytes($0) } ?? []
        let problem: String
        if bytes.isEmpty {
            problem = "unexpected end of JSON input"
        } else {
            do {
                let content = try JSON(parsing: bytes)
                if content.object != nil || content.isNull { return }
                problem = "json: cannot unmarshal \(content.typeName) into Go value of type map[string]interface {}"
            } catch { problem = "\(error)" }
        }
        inspection.report(.invalid("data[\(key)]", "<secret contents redacted>", problem))
    }
}
