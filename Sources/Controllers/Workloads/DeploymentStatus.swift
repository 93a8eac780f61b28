// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import Values

/// The status of a Deployment from its ReplicaSets: pure.
package struct DeploymentStatus {
    package let deployment: KubeObject
    package let new: KubeObject?
    package let old: [KubeObject]
    package let now: Timestamp

    private var strategy: RollingUpdate { RollingUpdate(spec: deployment["spec"]) }
    private var wanted: Int { strategy.replicas }
    /// Seconds without progress after which a rollout counts as stuck; nil without limit.
    package var deadline: Int? {
        deployment["spec"]["progressDeadlineSeconds"].int.flatMap { $0 >= Int(Int32.max) ? nil : $0 }
    }
    private var isPaused: Bool { deployment["spec"]["paused"].bool ?? false }

    /// Counts and the Available condition; Progressing as it was.
    package func counted(collisions: Int?) -> JSON {
        let all = old + (new.map { [$0] } ?? [])
        func sum(_ member: String, _ sets: [KubeObject]) -> Int {
            sets.reduce(0) { $0 + ($1["status"][member].int ?? 0) }
        }
        let available = sum("availableReplicas", all)
        let total = all.reduce(0) { $0 + $1.specReplicas }
        var status: JSON = ["observedGeneration": JSON(deployment.generation)]
        let counts = [
            ("replicas", sum("replicas", all)), ("updatedReplicas", new.map { sum("replicas", [$0]) } ?? 0),
            ("readyReplicas", sum("readyReplicas", all)), ("availableReplicas", available),
            ("unavailableReplicas", max(0, total - available)),
        ]
        for (member, count) in counts where count > 0 { status[member] = JSON(count) }
        if let collisions, collisions > 0 { status["collisionCount"] = JSON(collisions) }
        var conditions = deployment["status"]["conditions"]
        let isAvailable = available >= strategy.minAvailable
        set(
            &conditions,
            isAvailable
                ? Condition(
                    "Available", true, "MinimumReplicasAvailable", "Deployment has minimum availability.")
                : Condition(
                    "Available", false, "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability."))
        let failure = all.lazy.compactMap { $0.condition("ReplicaFailure") }.first
        if let failure {
            set(
                &conditions,
                Condition(
                    "ReplicaFailure", failure["status"].string == "True", failure["reason"].string ?? "",
                    failure["message"].string ?? ""))
        } else {
            conditions.removeCondition("ReplicaFailure")
        }
        status["conditions"] = conditions
        return status
    }

    /// The whole status in a rollout: Progressing as the counts show it.
    package func rollout(collisions: Int?) -> JSON {
        var status = counted(collisions: collisions)
        var conditions = status["conditions"]
        guard deadline != nil else {
            conditions.removeCondition("Progressing")
            status["conditions"] = conditions
            return status
        }
        let current = conditions.condition("Progressing")
        let updated = status["updatedReplicas"].int ?? 0
        let wasComplete =
            (status["replicas"].int ?? 0) == updated && current["reason"].string == "NewReplicaSetAvailable"
        if !wasComplete {
            let subject = new.map { "ReplicaSet \"\($0.name)\"" } ?? "Deployment \"\(deployment.name)\""
            if Self.isComplete(deployment, status) {
                set(
                    &conditions,
                    Condition(
                        "Progressing", true, "NewReplicaSetAvailable", "\(subject) has successfully progressed."))
            } else if hasProgressed(status) {
                let message = "\(subject) is progressing."
                conditions.removeCondition("Progressing")
                set(&conditions, Condition("Progressing", true, "ReplicaSetUpdated", message))
                keepTransition(&conditions, of: current)
            } else if isStuck(current) {
                set(
                    &conditions,
                    Condition(
                        "Progressing", false, "ProgressDeadlineExceeded", "\(subject) has timed out progressing."))
            }
        }
        status["conditions"] = conditions
        return status
    }

    package static func isComplete(_ deployment: KubeObject, _ status: JSON?) -> Bool {
        let wanted = deployment.specReplicas
        return (status["updatedReplicas"].int ?? 0) == wanted && (status["replicas"].int ?? 0) == wanted
            && (status["availableReplicas"].int ?? 0) == wanted
            && (status["observedGeneration"].int ?? 0) >= deployment.generation
    }

    /// More new, ready or available pods than before, or fewer old ones.
    private func hasProgressed(_ status: JSON) -> Bool {
        let before = deployment["status"]
        func grew(_ member: String) -> Bool { (status[member].int ?? 0) > (before[member].int ?? 0) }
        func old(_ status: JSON?) -> Int { (status["replicas"].int ?? 0) - (status["updatedReplicas"].int ?? 0) }
        return grew("updatedReplicas") || old(status) < old(before) || grew("readyReplicas")
            || grew("availableReplicas")
    }

    private func isStuck(_ condition: JSON?) -> Bool {
        guard let deadline, let condition, condition["reason"].string != "NewReplicaSetAvailable" else { return false }
        if condition["reason"].string == "ProgressDeadlineExceeded" { return true }
        guard let since = (condition["lastUpdateTime"].string).flatMap({ Timestamp($0) }) else { return false }
        return now.seconds(since: since) >= Double(deadline)
    }

    /// Seconds until the deadline has to be looked at again; nil when it does not matter.
    package func secondsToDeadline(_ status: JSON) -> Double? {
        guard let deadline, !isPaused, let condition = status["conditions"].condition("Progressing"),
            !Self.isComplete(deployment, status), condition["reason"].string != "ProgressDeadlineExceeded",
            condition["reason"].string != "NewReplicaSetAvailable",
            let since = (condition["lastUpdateTime"].string).flatMap({ Timestamp($0) })
        else { return nil }
        return max(0, Double(deadline) - now.seconds(since: since)) + 1
    }

    private func set(_ conditions: inout JSON?, _ condition: Condition) {
        conditions.setCondition(condition, now: now, times: ["lastUpdateTime"])
    }

    private func keepTransition(_ conditions: inout JSON?, of old: JSON?) {
        guard old["status"].string == "True", let time = old["lastTransitionTime"], var list = conditions.array,
            let index = list.firstIndex(where: { $0["type"].string == "Progressing" })
        else { return }
        list[index]["lastTransitionTime"] = time
        conditions = .array(list)
    }
}

extension KubeObject {
    /// `spec.replicas`, one when unset.
    package var specReplicas: Int { max(0, json["spec"]["replicas"].int ?? 1) }
}
