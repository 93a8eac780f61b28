// SPDX-License-Identifier: Apache-2.0

package import Values

/// How a run of a container ended.
package struct Termination: Sendable, Hashable {
    package var exitCode: Int
    package var signal: Int?
    package var reason: String
    package var message: String?
    package var startedAt: Timestamp?
    package var finishedAt: Timestamp?
    package var containerID: String?

    package init(
        exitCode: Int, signal: Int? = nil, reason: String, message: String? = nil, startedAt: Timestamp? = nil,
        finishedAt: Timestamp? = nil, containerID: String? = nil
    ) {
        self.exitCode = exitCode
        self.signal = signal
        self.reason = reason
        self.message = message
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.containerID = containerID
    }

    var json: JSON {
        var json: JSON = ["exitCode": JSON(exitCode), "reason": JSON(reason)]
        if let signal { json["signal"] = JSON(signal) }
        if let message, !message.isEmpty { json["message"] = JSON(message) }
        json["startedAt"] = startedAt.map { JSON($0.description) } ?? .null
        json["finishedAt"] = finishedAt.map { JSON($0.description) } ?? .null
        if let containerID { json["containerID"] = JSON("catbird://\(containerID)") }
        return json
    }

    /// Reads what an earlier kubelet wrote.
    package init?(_ json: JSON?) {
        guard let json, let code = json["exitCode"].int else { return nil }
        self.init(
            exitCode: code, signal: json["signal"].int, reason: json["reason"].string ?? "Error",
            message: json["message"].string, startedAt: json["startedAt"].string.flatMap { Timestamp($0) },
            finishedAt: json["finishedAt"].string.flatMap { Timestamp($0) },
            containerID: json["containerID"].string.map { String($0.drop { $0 != "/" }.drop { $0 == "/" }) })
    }
}

/// What is known of a container of a pod: the source of its entry in the status.
package struct ContainerRecord: Sendable, Hashable {
    package enum State: Sendable, Hashable {
        case waiting(reason: String, message: String?)
        case running(Timestamp)
        case terminated(Termination)
    }

    package var name: String
    package var state: State
    /// How the run before the latest ended.
    package var last: Termination?
    package var restartCount = 0
    /// As the spec names it, until it was found.
    package var image: String
    package var imageID = ""
    package var containerID: String?
    /// The readiness probe's word; without a probe that it was started.
    package var isReady = false
    package var hasStarted = false
    package var user: (uid: Int, gid: Int, groups: [Int])? {
        get { userNumbers.map { ($0[0], $0[1], Array($0.dropFirst(2))) } }
        set { userNumbers = newValue.map { [$0.uid, $0.gid] + $0.groups } }
    }
    private var userNumbers: [Int]?

    package init(name: String, image: String, state: State) {
        self.name = name
        self.image = image
        self.state = state
    }

    package var isRunning: Bool { if case .running = state { true } else { false } }
    package var termination: Termination? { if case .terminated(let end) = state { end } else { nil } }

    func json(_ container: ContainerView) -> JSON {
        var json: JSON = ["name": JSON(name)]
        switch state {
        case .waiting(let reason, let message):
            json["state"] = ["waiting": ["reason": JSON(reason)]]
            if let message { json["state"]["waiting"]["message"] = JSON(message) }
        case .running(let since): json["state"] = ["running": ["startedAt": JSON(since.description)]]
        case .terminated(let end): json["state"] = ["terminated": end.json]
        }
        json["lastState"] = last.map { ["terminated": $0.json] } ?? [:]
        json["ready"] = JSON(isReady)
        json["restartCount"] = JSON(restartCount)
        json["image"] = JSON(image)
        json["imageID"] = JSON(imageID)
        if let containerID { json["containerID"] = JSON("catbird://\(containerID)") }
        // An ephemeral container has no probes that could tell.
        if container.role != .ephemeral { json["started"] = JSON(hasStarted) }
        if let requests = container.json["resources"]["requests"], requests.object?.isEmpty == false {
            json["allocatedResources"] = requests
        }
        if let resources = container.json["resources"], resources.object?.isEmpty == false {
            json["resources"] = resources
        }
        if let mounts = container.json["volumeMounts"].array, !mounts.isEmpty {
            json["volumeMounts"] = .array(
                mounts.map { mount in
                    var entry: JSON = ["name": mount["name"] ?? "", "mountPath": mount["mountPath"] ?? ""]
                    if mount["readOnly"].bool == true {
                        entry["readOnly"] = true
                        entry["recursiveReadOnly"] = "Disabled"
                    }
                    return entry
                })
        }
        if let user {
            json["user"] = [
                "linux": [
                    "uid": JSON(user.uid), "gid": JSON(user.gid),
                    "supplementalGroups": .array(user.groups.map { JSON($0) }),
                ]
            ]
        }
        return json
    }
}
