// SPDX-License-Identifier: Apache-2.0

import Linux
import Values

/// A sandbox as it is on disk.
struct SandboxRecord: Sendable {
    enum Phase: String, Sendable { case creating, ready, removing }

    var spec: SandboxSpec
    var phase: Phase
    var createdAt: Timestamp
    var cgroup: String
    var netnsPath: String?
    var cniResult: JSON = .null
    var ips: [IPAddress] = []
    /// The hidden container that holds the shared process namespace.
    var pauseContainer: ContainerID?
}

/// A container as it is on disk.
struct ContainerRecord: Sendable {
    enum Phase: String, Sendable { case creating, created, running, exited, removing }

    var status: ContainerStatus
    var phase: Phase
    var conmonPid: Int32?
    var conmonStarted: String?
    var pidStarted: String?
    var stopSignal: String?
    var isHidden: Bool
    var tty: Bool
    var stdin: Bool
    /// Whether its processes outlive its first one: it has no process namespace of its own.
    var sharesProcesses: Bool
    /// The process of the specification, for exec.
    var process: JSON
}

extension SandboxRecord {
    init?(_ json: JSON) {
        let spec = json["spec"]
        guard let id = spec["id"].string, let phase = json["phase"].string.flatMap(Phase.init(rawValue:)),
            let created = json["createdAt"].string.flatMap({ Timestamp($0) })
        else { return nil }
        func flag(_ name: String) -> Bool { spec[name].bool ?? false }
        func text(_ name: String) -> String { spec[name].string ?? "" }
        self.spec = SandboxSpec(
            id: id, podNamespace: text("podNamespace"), podName: text("podName"), podUID: text("podUID"),
            attempt: spec["attempt"].int ?? 0, hostname: text("hostname"), hostNetwork: flag("hostNetwork"),
            hostPID: flag("hostPID"), hostIPC: flag("hostIPC"), shareProcessNamespace: flag("shareProcessNamespace"),
            sysctls: spec["sysctls"].object?.strings ?? [:],
            portMappings: (spec["portMappings"].array ?? []).compactMap { mapping in
                guard let host = mapping["hostPort"].int, let container = mapping["containerPort"].int else {
                    return nil
                }
                return PortMapping(
                    hostPort: host, containerPort: container, transport: mapping["protocol"].string ?? "tcp",
                    hostIP: mapping["hostIP"].string)
            },
            cgroupParent: spec["cgroupParent"].string, logDirectory: text("logDirectory"),
            annotations: spec["annotations"].object?.strings ?? [:], labels: spec["labels"].object?.strings ?? [:],
            networkCapabilities: spec["networkCapabilities"])
        self.phase = phase
        createdAt = created
        cgroup = json["cgroup"].string ?? ""
        netnsPath = json["netnsPath"].string
        cniResult = json["cniResult"] ?? .null
        ips = (json["ips"].array ?? []).compactMap { $0.string.flatMap { IPAddress($0) } }
        pauseContainer = json["pauseContainer"].string
    }

    var json: JSON {
        var spec: JSON = [
            "id": JSON(self.spec.id), "podNamespace": JSON(self.spec.podNamespace), "podName": JSON(self.spec.podName),
            "podUID": JSON(self.spec.podUID), "attempt": JSON(self.spec.attempt), "hostname": JSON(self.spec.hostname),
            "hostNetwork": JSON(self.spec.hostNetwork), "hostPID": JSON(self.spec.hostPID),
            "hostIPC": JSON(self.spec.hostIPC), "shareProcessNamespace": JSON(self.spec.shareProcessNamespace),
            "sysctls": JSON(self.spec.sysctls), "logDirectory": JSON(self.spec.logDirectory),
            "annotations": JSON(self.spec.annotations), "labels": JSON(self.spec.labels),
        ]
        spec["portMappings"] = .array(self.spec.portMappings.map(\.json))
        if let parent = self.spec.cgroupParent { spec["cgroupParent"] = JSON(parent) }
        spec["networkCapabilities"] = self.spec.networkCapabilities
        var json: JSON = [
            "spec": spec, "phase": JSON(phase.rawValue), "createdAt": JSON(createdAt.nano), "cgroup": JSON(cgroup),
            "cniResult": cniResult, "ips": JSON(ips.map(\.description)),
        ]
        if let netnsPath { json["netnsPath"] = JSON(netnsPath) }
        if let pauseContainer { json["pauseContainer"] = JSON(pauseContainer) }
        return json
    }

    /// What callers see. The namespaces are looked at anew: they are gone after the machine was started anew.
    var sandbox: Sandbox {
        let lives = netnsPath.map { Namespaces.isPinned($0) } ?? true
        return Sandbox(
            spec: spec, state: phase == .ready && lives ? .ready : .notReady, createdAt: createdAt, ips: ips,
            netnsPath: netnsPath, cniResult: cniResult)
    }
}

extension PortMapping {
    /// As the `portMappings` capability of CNI has it.
    var json: JSON {
        var json: JSON = [
            "hostPort": JSON(hostPort), "containerPort": JSON(containerPort), "protocol": JSON(transport.lowercased()),
        ]
        if let hostIP, !hostIP.isEmpty { json["hostIP"] = JSON(hostIP) }
        return json
    }
}

extension ContainerRecord {
    init?(_ json: JSON) {
        guard let id = json["id"].string, let phase = json["phase"].string.flatMap(Phase.init(rawValue:)),
            let created = json["createdAt"].string.flatMap({ Timestamp($0) })
        else { return nil }
        func text(_ name: String) -> String { json[name].string ?? "" }
        func time(_ name: String) -> Timestamp? { json[name].string.flatMap { Timestamp($0) } }
        status = ContainerStatus(
            id: id, name: text("name"), sandboxID: text("sandboxID"), attempt: json["attempt"].int ?? 0,
            state: .created,
            pid: json["pid"].int, exitCode: json["exitCode"].int, signal: json["signal"].int,
            oomKilled: json["oomKilled"].bool ?? false, message: text("message"), createdAt: created,
            startedAt: time("startedAt"), finishedAt: time("finishedAt"), image: text("image"),
            imageID: text("imageID"),
            logPath: json["logPath"].string, terminationMessageFile: json["terminationMessageFile"].string,
            labels: json["labels"].object?.strings ?? [:], annotations: json["annotations"].object?.strings ?? [:],
            user: UserIdentity(
                uid: json["uid"].int ?? 0, gid: json["gid"].int ?? 0,
                supplementalGroups: json["groups"].array?.compactMap(\.int) ?? []), cgroupPath: text("cgroupPath"))
        self.phase = phase
        conmonPid = json["conmonPid"].int.flatMap { Int32(exactly: $0) }
        conmonStarted = json["conmonStarted"].string
        pidStarted = json["pidStarted"].string
        stopSignal = json["stopSignal"].string
        isHidden = json["hidden"].bool ?? false
        tty = json["tty"].bool ?? false
        stdin = json["stdin"].bool ?? false
        sharesProcesses = json["sharesProcesses"].bool ?? false
        process = json["process"] ?? .null
        status.state = state
    }

    var state: ContainerStatus.State {
        switch phase {
        case .creating, .created: .created
        case .running: .running
        case .exited, .removing: .exited
        }
    }

    var json: JSON {
        var json: JSON = [
            "id": JSON(status.id), "phase": JSON(phase.rawValue), "name": JSON(status.name),
            "sandboxID": JSON(status.sandboxID), "attempt": JSON(status.attempt), "oomKilled": JSON(status.oomKilled),
            "message": JSON(status.message), "createdAt": JSON(status.createdAt.nano), "image": JSON(status.image),
            "imageID": JSON(status.imageID), "labels": JSON(status.labels), "annotations": JSON(status.annotations),
            "uid": JSON(status.user.uid), "gid": JSON(status.user.gid),
            "groups": .array(status.user.supplementalGroups.map { JSON($0) }), "cgroupPath": JSON(status.cgroupPath),
            "hidden": JSON(isHidden), "tty": JSON(tty), "stdin": JSON(stdin), "sharesProcesses": JSON(sharesProcesses),
            "process": process,
        ]
        if let value = status.pid { json["pid"] = JSON(value) }
        if let value = status.exitCode { json["exitCode"] = JSON(value) }
        if let value = status.signal { json["signal"] = JSON(value) }
        if let value = status.startedAt { json["startedAt"] = JSON(value.nano) }
        if let value = status.finishedAt { json["finishedAt"] = JSON(value.nano) }
        if let value = status.logPath { json["logPath"] = JSON(value) }
        if let value = status.terminationMessageFile { json["terminationMessageFile"] = JSON(value) }
        if let value = conmonPid { json["conmonPid"] = JSON(Int(value)) }
        if let value = conmonStarted { json["conmonStarted"] = JSON(value) }
        if let value = pidStarted { json["pidStarted"] = JSON(value) }
        if let value = stopSignal { json["stopSignal"] = JSON(value) }
        return json
    }
}
