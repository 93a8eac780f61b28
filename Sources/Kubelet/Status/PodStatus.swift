// SPDX-License-Identifier: Apache-2.0

import KubeObjects
package import Values

/// What a pod's status is computed from, besides the pod itself.
package struct PodFacts: Sendable {
    package var containers: [ContainerRecord]
    package var initContainers: [ContainerRecord]
    package var ephemeralContainers: [ContainerRecord] = []
    package var hostIP: String
    package var podIPs: [String] = []
    package var startTime: Timestamp?
    package var sandboxIsReady = false
    /// Set when the kubelet ended the pod itself: `DeadlineExceeded`, `Evicted`, and why.
    package var failure: (reason: String, message: String)?
    /// Nothing runs any more and nothing will: the phase becomes final.
    package var isOver = false

    package init(containers: [ContainerRecord], initContainers: [ContainerRecord], hostIP: String) {
        self.containers = containers
        self.initContainers = initContainers
        self.hostIP = hostIP
    }
}

/// The status of a pod as a pure function of what is known.
package enum PodStatus {
    package static func phase(_ pod: PodView, _ facts: PodFacts) -> String {
        if facts.failure != nil { return "Failed" }
        if pod.isTerminal { return pod.phase }
        var pendingInit = 0
        for record in facts.initContainers {
            let end = record.termination ?? (record.isRunning ? nil : record.last)
            switch end?.exitCode {
            case 0 where record.termination != nil: continue
            case .some(let code) where code != 0 && pod.restartPolicy == .never: return "Failed"
            default: pendingInit += 1
            }
        }
        var waiting = 0
        var running = 0
        var stopped = 0
        var succeeded = 0
        for record in facts.containers {
            switch record.state {
            case .running: running += 1
            case .terminated(let end):
                stopped += 1
                if end.exitCode == 0 { succeeded += 1 }
            case .waiting: if record.last != nil { stopped += 1 } else { waiting += 1 }
            }
        }
        if facts.isOver, running == 0 {
            return pendingInit == 0 && waiting == 0 && succeeded == facts.containers.count ? "Succeeded" : "Failed"
        }
        if pendingInit > 0 || waiting > 0 { return "Pending" }
        if running > 0 { return "Running" }
        guard stopped > 0 else { return "Pending" }
        switch pod.restartPolicy {
        case .always: return "Running"
        case .onFailure: return stopped == succeeded ? "Succeeded" : "Running"
        case .never: return stopped == succeeded ? "Succeeded" : "Failed"
        }
    }

    package static func compute(
        _ pod: PodView, _ facts: PodFacts, previous: [JSON]? = nil, now: Timestamp
    ) -> JSON {
        let phase = phase(pod, facts)
        var status: JSON = ["phase": JSON(phase)]
        if pod.object.generation > 0 { status["observedGeneration"] = JSON(pod.object.generation) }
        status["conditions"] = .array(conditions(pod, facts, phase: phase, previous: previous, now: now))
        status["reason"] = facts.failure.map { JSON($0.reason) } ?? pod.object["status"]["reason"] ?? .null
        status["message"] = facts.failure.map { JSON($0.message) } ?? pod.object["status"]["message"] ?? .null
        if !facts.hostIP.isEmpty {
            status["hostIP"] = JSON(facts.hostIP)
            status["hostIPs"] = [["ip": JSON(facts.hostIP)]]
        }
        let addresses = pod.hostNetwork ? [facts.hostIP] : facts.podIPs
        if let first = addresses.first, !first.isEmpty {
            status["podIP"] = JSON(first)
            status["podIPs"] = .array(addresses.map { ["ip": JSON($0)] })
        }
        if let start = facts.startTime { status["startTime"] = JSON(start.description) }
        if !facts.initContainers.isEmpty {
            status["initContainerStatuses"] = statuses(pod.initContainers, facts.initContainers)
        }
        status["containerStatuses"] = statuses(pod.containers, facts.containers)
        if !facts.ephemeralContainers.isEmpty {
            status["ephemeralContainerStatuses"] = statuses(pod.ephemeralContainers, facts.ephemeralContainers)
        }
        status["qosClass"] = JSON(QoSClass(of: pod).rawValue)
        return status
    }

    private static func statuses(_ views: [ContainerView], _ records: [ContainerRecord]) -> JSON {
        .array(
            views.compactMap { view in records.first { $0.name == view.name }?.json(view) }
                .sorted { ($0["name"].string ?? "") < ($1["name"].string ?? "") })
    }

    /// `previous`: the conditions computed last, which the API may not have shown yet.
    package static func conditions(
        _ pod: PodView, _ facts: PodFacts, phase: String, previous: [JSON]? = nil, now: Timestamp
    ) -> [JSON] {
        let known = pod.object["status"]["conditions"].array ?? []
        let previous = previous ?? known
        func condition(_ type: String, _ isTrue: Bool, _ reason: String? = nil, _ message: String? = nil) -> JSON {
            let status = isTrue ? "True" : "False"
            let old = previous.first { $0["type"].string == type }
            let since = old["status"].string == status ? old["lastTransitionTime"].string : nil
            var json: JSON = [
                "type": JSON(type), "status": JSON(status), "lastProbeTime": .null,
                "lastTransitionTime": JSON(since ?? now.description),
            ]
            if pod.object.generation > 0 { json["observedGeneration"] = JSON(pod.object.generation) }
            // A patch merges conditions by type: what is to be gone must be named.
            json["reason"] = reason.map { JSON($0) } ?? .null
            json["message"] = message.map { JSON($0) } ?? .null
            return json
        }
        func list(_ names: [String]) -> String { "[" + names.joined(separator: " ") + "]" }

        let incomplete = facts.initContainers.filter { $0.termination?.exitCode != 0 }.map(\.name)
        let unready = facts.containers.filter { !$0.isReady }.map(\.name)
        let isFinal = phase == "Succeeded" || phase == "Failed"

        let initialized: JSON
        if phase == "Succeeded" {
            initialized = condition("Initialized", true, "PodCompleted")
        } else if incomplete.isEmpty {
            initialized = condition("Initialized", true)
        } else {
            initialized = condition(
                "Initialized", false, "ContainersNotInitialized",
                "containers with incomplete status: \(list(incomplete))")
        }
        let containersReady: JSON
        var ready: JSON
        if isFinal {
            let reason = phase == "Succeeded" ? "PodCompleted" : "PodFailed"
            containersReady = condition("ContainersReady", false, reason)
            ready = condition("Ready", false, reason)
        } else if unready.isEmpty, incomplete.isEmpty {
            containersReady = condition("ContainersReady", true)
            ready = condition("Ready", true)
            for gate in pod.readinessGates {
                let found = known.first { $0["type"].string == gate }
                guard found["status"].string != "True" else { continue }
                let message =
                    found == nil
                    ? "corresponding condition of pod readiness gate \"\(gate)\" does not exist."
                    : "the status of pod readiness gate \"\(gate)\" is not \"True\", but \(found["status"].string ?? "")"
                ready = condition("Ready", false, "ReadinessGatesNotReady", message)
            }
        } else {
            let message = "containers with unready status: \(list(unready))"
            containersReady = condition("ContainersReady", false, "ContainersNotReady", message)
            ready = condition("Ready", false, "ContainersNotReady", message)
        }
        return [
            condition("PodReadyToStartContainers", facts.sandboxIsReady), initialized, ready, containersReady,
            condition("PodScheduled", true),
        ]
    }

    /// Lists that the API merges by key, and that belong to the kubelet alone: each is sent whole, in place of the
    /// old one. Merged, the address of a sandbox that is gone would stay, and stay first.
    private static let replacedLists: Set<String> = ["podIPs", "hostIPs"]

    /// Null says as much as absence, and of conditions others write some.
    private static func isSame(_ key: String, _ value: JSON, _ sent: JSON) -> Bool {
        if key == "conditions" { return !OwnedStatus.pod.differs([key: value], from: [key: sent]) }
        return OwnedStatus.withoutNulls(value) == OwnedStatus.withoutNulls(sent)
    }

    /// The members of `next` that differ from `sent`, as a strategic merge patch. Nil when nothing does.
    package static func difference(_ next: JSON, from sent: JSON?) -> JSON? {
        var result = JSONObject()
        for (key, value) in next.object ?? [:] {
            if let sent, isSame(key, value, sent[key] ?? .null) { continue }
            if replacedLists.contains(key), let elements = value.array {
                result[key] = .array([["$patch": "replace"]] + elements)
            } else {
                result[key] = value
            }
        }
        return sent != nil && result.isEmpty ? nil : .object(result)
    }
}
