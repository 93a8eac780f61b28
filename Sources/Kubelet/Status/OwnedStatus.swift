// SPDX-License-Identifier: Apache-2.0

package import Values

/// The part of an object's status that the kubelet alone may write: by it the kubelet sees that somebody else did.
///
/// What the API shows is compared with what it answered to the kubelet's last write, not with what the kubelet sent: a
/// server may spell a value differently, and that must not be taken for somebody's change.
package struct OwnedStatus: Sendable {
    package let fields: Set<String>
    package let conditions: Set<String>
    /// Members of conditions that say when somebody looked, not what was seen.
    private static let moments: Set<String> = ["lastHeartbeatTime", "lastProbeTime"]

    package static let pod = OwnedStatus(
        fields: [
            "phase", "reason", "message", "hostIP", "hostIPs", "podIP", "podIPs", "startTime", "containerStatuses",
            "initContainerStatuses", "ephemeralContainerStatuses", "qosClass",
        ],
        conditions: ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"])

    package static let node = OwnedStatus(
        fields: ["addresses", "daemonEndpoints", "nodeInfo", "images", "capacity", "allocatable"],
        conditions: ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"])

    /// The owned part, without members that are null.
    package func part(of status: JSON?) -> JSON {
        var result: [String: JSON] = [:]
        for (key, value) in status.object ?? [:] where fields.contains(key) {
            let kept = Self.withoutNulls(value)
            if kept != [:], kept != [], !kept.isNull { result[key] = kept }
        }
        for condition in status["conditions"].array ?? [] {
            guard let type = condition["type"].string, conditions.contains(type), let members = condition.object else {
                continue
            }
            result["condition " + type] = Self.withoutNulls(
                .object(JSONObject(members.filter { !Self.moments.contains($0.key) }.map { ($0.key, $0.value) })))
        }
        return .object(JSONObject(result.map { ($0.key, $0.value) }))
    }

    package func differs(_ seen: JSON?, from written: JSON?) -> Bool { part(of: seen) != part(of: written) }

    static func withoutNulls(_ json: JSON) -> JSON {
        switch json {
        case .object(let object):
            .object(JSONObject(object.compactMap { $1.isNull ? nil : ($0, withoutNulls($1)) }))
        case .array(let elements): .array(elements.map(withoutNulls))
        default: json
        }
    }
}
