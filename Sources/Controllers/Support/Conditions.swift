// SPDX-License-Identifier: Apache-2.0

package import Values

/// A condition as `status.conditions` holds it.
package struct Condition: Sendable, Equatable {
    package var type: String
    package var status: Bool?
    package var reason: String
    package var message: String

    package init(_ type: String, _ status: Bool?, _ reason: String, _ message: String) {
        self.type = type
        self.status = status
        self.reason = reason
        self.message = message
    }

    package var statusText: String { status.map { $0 ? "True" : "False" } ?? "Unknown" }
}

extension JSON? {
    /// The entry of that type in a list of conditions.
    package func condition(_ type: String) -> JSON? { array?.first { $0["type"].string == type } }

    /// Writes the condition into the list. Nothing changes when status, reason and message are there already; the
    /// transition time moves only when the status does.
    ///
    /// `times` names the members that hold the moment of every change (`lastUpdateTime`, `lastHeartbeatTime`).
    /// `hasMessage`: the type of the condition is that of meta/v1, where a message is required, if only an empty one.
    package mutating func setCondition(
        _ condition: Condition, now: Timestamp, times: [String] = [], hasMessage: Bool = false
    ) {
        var list = array ?? []
        let index = list.firstIndex { $0["type"].string == condition.type }
        let old: JSON? = index.map { list[$0] }
        if let old, old["status"].string == condition.statusText, (old["reason"].string ?? "") == condition.reason,
            (old["message"].string ?? "") == condition.message
        {
            return
        }
        var entry: JSON = old ?? ["type": JSON(condition.type)]
        if old == nil || old["status"].string != condition.statusText {
            entry["lastTransitionTime"] = JSON(now.description)
        }
        entry["status"] = JSON(condition.statusText)
        entry["reason"] = condition.reason.isEmpty ? nil : JSON(condition.reason)
        entry["message"] = condition.message.isEmpty && !hasMessage ? nil : JSON(condition.message)
        for time in times { entry[time] = JSON(now.description) }
        if let index { list[index] = entry } else { list.append(entry) }
        self = .array(list)
    }

    package mutating func removeCondition(_ type: String) {
        guard let list = array, list.contains(where: { $0["type"].string == type }) else { return }
        self = .array(list.filter { $0["type"].string != type })
    }
}
