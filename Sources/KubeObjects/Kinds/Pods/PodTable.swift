// SPDX-License-Identifier: Apache-2.0

public import Values

/// What `kubectl get pods` shows of a pod.
public enum PodTable {
    /// Containers that run for as long as the pod does: init containers that restart always count.
    private static func sidecars(_ pod: JSON) -> Set<String> {
        Set(
            (pod["spec"]["initContainers"].array ?? []).filter { $0["restartPolicy"].string == "Always" }
                .compactMap { $0["name"].string })
    }

    static func ready(_ pod: JSON) -> String {
        let sidecars = sidecars(pod)
        let total = (pod["spec"]["containers"].array?.count ?? 0) + sidecars.count
        let running = (pod["status"]["containerStatuses"].array ?? []).filter(isReady).count
        let helping = (pod["status"]["initContainerStatuses"].array ?? []).filter {
            sidecars.contains($0["name"].string ?? "") && isReady($0)
        }.count
        return "\(running + helping)/\(total)"
    }

    private static func isReady(_ status: JSON) -> Bool {
        status["ready"].bool == true && status["state"]["running"].object != nil
    }

    static func restarts(_ pod: JSON, now: Timestamp) -> String {
        let sidecars = sidecars(pod)
        let statuses = pod["status"]["containerStatuses"].array ?? []
        let initial = pod["status"]["initContainerStatuses"].array ?? []
        // While it starts, a pod's restarts are those of its init containers.
        let isStarting = initialState(pod) != nil
        let counted =
            isStarting ? initial : statuses + initial.filter { sidecars.contains($0["name"].string ?? "") }
        let total = counted.reduce(0) { $0 &+ max(0, $1["restartCount"].int ?? 0) }
        let last = counted.compactMap { $0["lastState"]["terminated"]["finishedAt"].string.flatMap { Timestamp($0) } }
            .max()
        guard total > 0, let last else { return String(total) }
        return "\(total) (\(HumanDuration.age(since: last, now: now)) ago)"
    }

    static func readinessGates(_ pod: JSON) -> String {
        let gates = (pod["spec"]["readinessGates"].array ?? []).compactMap { $0["conditionType"].string }
        if gates.isEmpty { return "<none>" }
        let conditions = pod["status"]["conditions"].array ?? []
        let passed = gates.filter { gate in
            conditions.contains { $0["type"].string == gate && $0["status"].string == "True" }
        }
        return "\(passed.count)/\(gates.count)"
    }

    /// The one word that says how a pod is.
    public static func status(_ pod: JSON) -> String {
        let status = pod["status"]
        let phase = status["phase"].string ?? ""
        let reason = status["reason"].string.flatMap { $0.isEmpty ? nil : $0 }
        let conditions = status["conditions"].array ?? []
        var result = reason ?? phase
        if conditions.contains(where: {
            $0["type"].string == "PodScheduled" && $0["reason"].string == "SchedulingGated"
        }) {
            result = "SchedulingGated"
        }
        if let initial = initialState(pod) {
            result = initial
        } else {
            result = containerState(status["containerStatuses"].array ?? []) ?? result
            let runs = (status["containerStatuses"].array ?? []).contains(where: isReady)
            if result == "Completed", runs {
                let isReady = conditions.contains { $0["type"].string == "Ready" && $0["status"].string == "True" }
                result = isReady ? "Running" : "NotReady"
            }
        }
        guard pod["metadata"]["deletionTimestamp"] != nil else { return result }
        if reason == "NodeLost" { return "Unknown" }
        return phase == "Succeeded" || phase == "Failed" ? result : "Terminating"
    }

    /// What holds a pod up before its containers start; nil once they may.
    private static func initialState(_ pod: JSON) -> String? {
        let sidecars = sidecars(pod)
        let initial = pod["spec"]["initContainers"].array?.count ?? 0
        for (index, status) in (pod["status"]["initContainerStatuses"].array ?? []).enumerated() {
            let name = status["name"].string ?? ""
            let state = status["state"]
            if let terminated = state["terminated"] {
                if (terminated["exitCode"].int ?? 0) == 0 { continue }
                return "Init:" + ended(terminated)
            }
            if sidecars.contains(name), status["started"].bool == true { continue }
            if let waiting = state["waiting"]["reason"].string, !waiting.isEmpty, waiting != "PodInitializing" {
                return "Init:" + waiting
            }
            return "Init:\(index)/\(initial)"
        }
        return nil
    }

    private static func containerState(_ statuses: [JSON]) -> String? {
        var result: String?
        // The first container has the last word.
        for status in statuses.reversed() {
            if let waiting = status["state"]["waiting"]["reason"].string, !waiting.isEmpty {
                result = waiting
            } else if let terminated = status["state"]["terminated"] {
                result = ended(terminated)
            }
        }
        return result
    }

    private static func ended(_ terminated: JSON) -> String {
        if let reason = terminated["reason"].string, !reason.isEmpty { return reason }
        if let signal = terminated["signal"].int, signal != 0 { return "Signal:\(signal)" }
        return "ExitCode:\(terminated["exitCode"].int ?? 0)"
    }
}

/// What the tables of controllers show of their templates.
enum TemplateTable {
    private static func containers(of spec: JSON?) -> [JSON] { spec["containers"].array ?? [] }

    static func containers(_ spec: JSON?) -> String {
        containers(of: spec).compactMap { $0["name"].string }.joined(separator: ",")
    }

    static func images(_ spec: JSON?) -> String {
        containers(of: spec).compactMap { $0["image"].string }.joined(separator: ",")
    }

    static func labels(_ labels: JSON?) -> String {
        let pairs = (labels.object?.strings ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        return pairs.isEmpty ? "<none>" : pairs.joined(separator: ",")
    }

    /// The text form of a selector object; everything and nothing both show as `<none>`.
    static func selector(_ selector: JSON?) -> String {
        guard let selector = try? LabelSelector(object: selector), !selector.requirements.isEmpty else {
            return "<none>"
        }
        return selector.description
    }

    /// Containers, images and selector: the wide columns of every controller.
    static let wide: [TableColumn] =
        withoutSelector + [
            TableColumn("Selector", wide: true) { JSON(selector($0["spec"]["selector"])) }
        ]

    static let withoutSelector: [TableColumn] = [
        TableColumn("Containers", wide: true) { JSON(containers($0["spec"]["template"]["spec"])) },
        TableColumn("Images", wide: true) { JSON(images($0["spec"]["template"]["spec"])) },
    ]
}
