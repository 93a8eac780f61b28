// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let configMap = KindDescription(
        "", "ConfigMap",
        columns: [
            .objectName,
            TableColumn("Data") { object in
                let texts = object["data"].object?.count ?? 0
                return JSON(String(texts + (object["binaryData"].object?.count ?? 0)))
            },
            .age,
        ],
        rules: { inspection in
            DataRules.inspect(&inspection, ["data", "binaryData"])
            for key in inspection.object["binaryData"].object?.keys ?? []
            where inspection.object["data"][key] != nil {
                inspection.report(.invalid("data[\(key)]", JSON(key), "duplicate of key present in binaryData"))
            }
        })

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
        rules: { inspection in
            DataRules.inspect(&inspection, ["data"])
            let required: [String] =
                switch inspection.object["type"].string {
                case "kubernetes.io/tls": ["tls.crt", "tls.key"]
                case "kubernetes.io/dockerconfigjson": [".dockerconfigjson"]
                case "kubernetes.io/dockercfg": [".dockercfg"]
                case "kubernetes.io/ssh-auth": ["ssh-privatekey"]
                default: []
                }
            for key in required where inspection.object["data"][key] == nil {
                inspection.report(.required("data[\(key)]"))
            }
            if inspection.object["type"].string == "kubernetes.io/service-account-token" {
                inspection.requireText(
                    inspection.object["metadata"]["annotations"]["kubernetes.io/service-account.name"],
                    "metadata.annotations[kubernetes.io/service-account.name]")
            }
        })

    static let serviceAccount = KindDescription(
        "", "ServiceAccount", strategy: Strategy(answersWithDeleted: true), columns: [.objectName, .age])
}

private enum DataRules {
    private static let limit = 1024 * 1024

    static func inspect(_ inspection: inout Inspection, _ members: [String]) {
        var size = 0
        for member in members {
            for (key, value) in inspection.object[member].object ?? [:] {
                inspection.invalid("\(member)[\(key)]", JSON(key), Names.configKeyProblems(key))
                size += value.string?.utf8.count ?? 0
            }
        }
        if size > limit {
            inspection.report(FieldError(.tooLong, members[0], detail: "may not be more than \(limit) bytes"))
        }
        guard let old = inspection.old, old["immutable"].bool == true else { return }
        if inspection.object["immutable"].bool != true {
            inspection.report(.forbidden("immutable", "field is immutable when `immutable` is set"))
        }
        for member in members where inspection.object[member] != old[member] {
            inspection.report(.forbidden(member, "field is immutable when `immutable` is set"))
        }
    }
}
