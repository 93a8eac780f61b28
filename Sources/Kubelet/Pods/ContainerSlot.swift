// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeObjects
import Values

/// What a pod's machine knows of one of its containers, and what is under way with it.
package struct ContainerSlot: Sendable {
    /// A try to start the container that has not ended.
    struct Start: Sendable, Hashable {
        let number: Int
        /// It waits for its image; nothing of it is in the runtime.
        var isPulling = true
        var isCancelled = false
    }

    /// What the probes of a run have said.
    struct Probing: Sendable, Hashable {
        let container: ContainerID
        var hasStarted: Bool
        var passedReadiness: Bool

        init(_ container: ContainerID, of view: ContainerView) {
            self.container = container
            hasStarted = ProbeSettings(.startup, of: view) == nil
            passedReadiness = ProbeSettings(.readiness, of: view) == nil
        }

        var isReady: Bool { hasStarted && passedReadiness }
    }

    package var view: ContainerView
    package var record: ContainerRecord
    /// The newest container of this name in the runtime.
    var current: ContainerID?
    /// The container whose end was taken note of.
    var handledExit: ContainerID?
    var backoff = RestartBackoff()
    /// When the latest try failed: the end of a run, or a start that never was.
    var failedAt: Timestamp?
    /// No start before this moment, whatever the back-off says.
    var retryAt: Timestamp?
    var start: Start?
    /// The grace of the stop that is under way.
    var stopGrace: Int?
    /// The container was stopped to be started again, whatever the restart policy says.
    var restartWanted = false
    var probing: Probing?

    init(view: ContainerView, record: ContainerRecord) {
        self.view = view
        self.record = record
    }

    /// A start is under way or the container runs.
    var isBusy: Bool { start != nil || record.isRunning }
}

extension ContainerRecord {
    /// How a run ended, by what the runtime says of it.
    static func termination(_ status: ContainerStatus, message: String?, now: Timestamp) -> Termination {
        let code = status.exitCode ?? 137
        let reason: String
        if status.oomKilled {
            reason = "OOMKilled"
        } else if status.startedAt == nil {
            reason = "ContainerCannotRun"
        } else {
            reason = code == 0 ? "Completed" : "Error"
        }
        return Termination(
            exitCode: code, signal: status.signal, reason: reason,
            message: message ?? (status.message.isEmpty ? nil : status.message),
            startedAt: status.startedAt ?? status.createdAt, finishedAt: status.finishedAt ?? now,
            containerID: status.id)
    }

    /// Takes over what an earlier kubelet wrote to the API.
    static func restored(_ view: ContainerView, of pod: PodView, waiting reason: String) -> ContainerRecord {
        var record = ContainerRecord(
            name: view.name, image: view.image, state: .waiting(reason: reason, message: nil))
        let list = pod.object["status"][view.role.statusList].array ?? []
        guard let old = list.first(where: { $0["name"].string == view.name }) else { return record }
        record.restartCount = old["restartCount"].int ?? 0
        record.last = Termination(old["lastState"]["terminated"])
        record.imageID = old["imageID"].string ?? ""
        record.containerID = old["containerID"].string.map {
            $0.hasPrefix("catbird://") ? String($0.dropFirst(10)) : $0
        }
        if let end = Termination(old["state"]["terminated"]) {
            record.state = .terminated(end)
        } else if old["state"]["running"] != nil {
            record.state = .terminated(
                Termination(
                    exitCode: 137, reason: "ContainerStatusUnknown",
                    message: "The container could not be located when the kubelet was started again",
                    startedAt: old["state"]["running"]["startedAt"].string.flatMap { Timestamp($0) },
                    finishedAt: nil, containerID: record.containerID))
        }
        return record
    }
}

/// What a container writes for its end.
enum TerminationMessage {
    static let limit = 4096

    static func read(_ status: ContainerStatus, fallsBackToLogs: Bool) -> String? {
        if let path = status.terminationMessageFile, let bytes = NodeFiles.read(path, limit: limit), !bytes.isEmpty {
            return String(decoding: bytes, as: UTF8.self)
        }
        guard fallsBackToLogs, status.exitCode != 0, let path = status.logPath,
            let tail = ContainerLogs.tail(path, count: 16384)
        else { return nil }
        return fallback(log: tail)
    }

    /// The last 2048 bytes or 80 lines of a log in CRI's form.
    static func fallback(log: [UInt8]) -> String? {
        let lines = log.split(separator: UInt8(ascii: "\n")).suffix(80).compactMap { LogLine($0) }
        var text: [UInt8] = []
        for line in lines {
            text += line.content
            if !line.isPartial { text.append(UInt8(ascii: "\n")) }
        }
        return text.isEmpty ? nil : String(decoding: text.suffix(2048), as: UTF8.self)
    }
}
