// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    /// Events of the core group and of events.k8s.io are the same objects with members of other names.
    static let events =
        [event("", object: "involvedObject", component: "reportingComponent")]
        + [event("events.k8s.io", object: "regarding", component: "reportingController")]

    private static func event(_ group: String, object: String, component: String) -> KindDescription {
        KindDescription(
            group, "Event",
            strategy: Strategy(allowsCreateOnUpdate: true),
            selectable: {
                var fields: [String: SelectableField] = [:]
                for member in ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"] {
                    fields["\(object).\(member)"] = SelectableField(path: "\(object).\(member)")
                }
                for member in ["reason", component, "type"] { fields[member] = SelectableField(path: member) }
                fields["source"] = SelectableField { event in
                    event["source"]["component"].string.flatMap { $0.isEmpty ? nil : $0 } ?? event["reportingComponent"]
                        .string ?? ""
                }
                return fields
            }(),
            columns: [
                TableColumn("Last Seen") { JSON(EventTable.lastSeen($0.json, now: $1)) },
                .text("Type", "type", missing: ""), .text("Reason", "reason", missing: ""),
                TableColumn("Object") { event in
                    let object = event["involvedObject"]
                    let kind = (object["kind"].string ?? "").lowercased()
                    return JSON("\(kind)/\(object["name"].string ?? "")")
                },
                .text("Subobject", "involvedObject.fieldPath", missing: "", wide: true),
                TableColumn("Source", wide: true) { event in
                    let component = event["source"]["component"].string ?? event["reportingComponent"].string ?? ""
                    let host = event["source"]["host"].string ?? event["reportingInstance"].string ?? ""
                    return JSON(host.isEmpty ? component : "\(component), \(host)")
                },
                TableColumn("Message") { event in
                    var text = event["message"].string ?? ""
                    while text.last?.isWhitespace == true { text.removeLast() }
                    return JSON(text)
                },
                TableColumn("First Seen", wide: true) { JSON(EventTable.firstSeen($0.json, now: $1)) },
                TableColumn("Count", type: "integer", wide: true) {
                    JSON($0["series"]["count"].int ?? max(1, $0["count"].int ?? 1))
                },
                TableColumn("Name", wide: true) { JSON($0.name) },
            ],
            rules: { EventRules.inspect(&$0, object: object, component: component, isNewer: !group.isEmpty) })
    }
}

private enum EventTable {
    static func lastSeen(_ event: JSON, now: Timestamp) -> String {
        let time =
            event["series"]["lastObservedTime"].string ?? event["lastTimestamp"].string ?? event["eventTime"].string
        return HumanDuration.age(since: time.flatMap { Timestamp($0) }, now: now)
    }

    static func firstSeen(_ event: JSON, now: Timestamp) -> String {
        let time = event["firstTimestamp"].string ?? event["eventTime"].string
        return HumanDuration.age(since: time.flatMap { Timestamp($0) }, now: now)
    }
}
