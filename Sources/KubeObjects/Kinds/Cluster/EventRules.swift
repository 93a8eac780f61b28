// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for an event. Upstream names fields as the core group does, in both.
enum EventRules {
    private static let longestWord = 128
    private static let longestNote = 1024
    /// The members that an event keeps: how the core group calls them, and how the newer group does.
    private static let kept = [
        ("involvedObject", "regarding"), ("reason", "reason"), ("message", "note"), ("source", "deprecatedSource"),
        ("firstTimestamp", "deprecatedFirstTimestamp"), ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"), ("type", "type"), ("eventTime", "eventTime"), ("action", "action"),
        ("related", "related"), ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ]

    static func inspect(_ inspection: inout Inspection, object: String, component: String, isNewer: Bool) {
        let event = inspection.object
        let namespace = event["metadata"]["namespace"].string ?? ""
        let involved = event[object]["namespace"].string ?? ""
        // Events about cluster-scoped objects stand in the default namespace.
        let fits: Bool
        if event["eventTime"] == nil {
            fits = involved.isEmpty ? namespace == "default" : involved == namespace
        } else {
            fits = !involved.isEmpty || namespace == "default" || namespace == "kube-system"
            words(&inspection, component: component, note: isNewer ? "note" : "message")
        }
        if !fits {
            inspection.report(
                .invalid("involvedObject.namespace", JSON(involved), "does not match event.namespace"))
        }
        guard isNewer else { return }
        if let old = inspection.old {
            if old["series"] != event["series"] { series(&inspection) }
            for (name, member) in kept where old[member] != event[member] {
                inspection.report(.invalid(name, event[member] ?? .null, "field is immutable"))
            }
        } else {
            series(&inspection)
            strict(&inspection)
        }
    }

    /// Who makes an event of the newer form says what was done, by whom, and why.
    private static func words(_ inspection: inout Inspection, component: String, note: String) {
        let event = inspection.object
        let controller = event[component].string ?? ""
        if controller.isEmpty { inspection.report(.required("reportingController")) }
        inspection.invalid("reportingController", JSON(controller), Names.qualifiedNameProblems(controller))
        for field in ["reportingInstance", "action", "reason"] {
            inspection.requireText(event[field], field)
            limit(&inspection, event[field], field, longestWord)
        }
        limit(&inspection, event[note], "message", longestNote)
    }

    private static func limit(_ inspection: inout Inspection, _ value: JSON?, _ field: String, _ most: Int) {
        guard let text = value.string, text.utf8.count > most else { return }
        inspection.report(.invalid(field, "", "can have at most \(most) characters"))
    }

    private static func series(_ inspection: inout Inspection) {
        guard let series = inspection.object["series"] else { return }
        if (series["count"].int ?? 0) < 2 {
            inspection.report(.invalid("series.count", "", "should be at least 2"))
        }
        inspection.requireText(series["lastObservedTime"], "series.lastObservedTime")
    }

    private static func strict(_ inspection: inout Inspection) {
        let event = inspection.object
        if event["eventTime"] == nil { inspection.report(.required("eventTime")) }
        let type = event["type"].string ?? ""
        if type != "Normal", type != "Warning" {
            inspection.report(.invalid("type", "", "has invalid value: \(type)"))
        }
        for (name, member) in kept where member.hasPrefix("deprecated") {
            guard let value = event[member], value != .int(0), value.object?.isEmpty != true else { continue }
            inspection.report(.invalid(name, "", "needs to be unset"))
        }
    }
}
