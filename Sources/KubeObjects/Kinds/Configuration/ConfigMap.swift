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
            // Upstream names no field for what is about both.
            DataRules.inspect(&inspection, ["data"], encoded: ["binaryData"], tooLong: "[]")
            for key in inspection.object["binaryData"].object?.keys ?? []
            where inspection.object["data"][key] != nil {
                inspection.report(.invalid("data[\(key)]", JSON(key), "duplicate of key present in binaryData"))
            }
        })
}

/// What must hold for keys and values, and for those that nobody may change any more.
enum DataRules {
    private static let limit = 1024 * 1024

    /// `plain` and `encoded` are members that hold texts and Base64.
    static func inspect(
        _ inspection: inout Inspection, _ plain: [String], encoded: [String], tooLong: String
    ) {
        var size = 0
        for member in plain + encoded {
            inspection.eachMember(inspection.object[member], member) { inspection, key, value, path in
                inspection.invalid(path, JSON(key), Names.configKeyProblems(key))
                let bytes = value.string?.utf8 ?? "".utf8
                size += encoded.contains(member) ? decodedCount(bytes) : bytes.count
            }
        }
        if size > limit {
            inspection.report(FieldError(.tooLong, tooLong, detail: "may not be more than \(limit) bytes"))
        }
        guard let old = inspection.old, old["immutable"].bool == true else { return }
        let detail = "field is immutable when `immutable` is set"
        if inspection.object["immutable"].bool != true { inspection.report(.forbidden("immutable", detail)) }
        for member in plain + encoded where inspection.object[member] != old[member] {
            inspection.report(.forbidden(member, detail))
        }
    }

    /// Four characters hold three bytes, less what is filled up.
    private static func decodedCount(_ text: String.UTF8View) -> Int {
        text.count / 4 * 3 - text.suffix(2).filter { $0 == UInt8(ascii: "=") }.count
    }
}
