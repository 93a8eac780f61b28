// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Why containers of a pod are not ready.
struct ContainerJudgement {
    private let pod: KubeObject
    private let cluster: ClusterSnapshot
    private let index: PodIndex

    init(_ pod: KubeObject, _ cluster: ClusterSnapshot, _ index: PodIndex) {
        self.pod = pod
        self.cluster = cluster
        self.index = index
    }

    func findings() -> [Finding] {
        let initial = pod["status"]["initContainerStatuses"].array ?? []
        let main = pod["status"]["containerStatuses"].array ?? []
        // Those that come later wait for the first init container that is not done; a sidecar is done when it runs.
        let blocking = initial.first { $0["state"]["terminated"]["exitCode"].int != 0 && $0["started"].bool != true }
        let waiting = blocking ?? initial.first { $0["state"]["running"] != nil && $0["ready"].bool != true }
        if let waiting, main.allSatisfy({ $0["state"]["waiting"]["reason"].string == "PodInitializing" }) {
            return finding(waiting, isInitial: true).map { [$0] } ?? []
        }
        return main.filter { $0["ready"].bool != true }.compactMap { finding($0, isInitial: false) }
    }

    /// The containers whose last words say why they ended.
    static func silent(_ pod: KubeObject) -> [String] {
        guard !pod.isBeingDeleted, !pod.isReady, pod["status"]["phase"].string != "Succeeded" else { return [] }
        return pod.containerStatuses.compactMap { status in
            let ended = status["lastState"]["terminated"] ?? status["state"]["terminated"]
            guard ended["exitCode"].int ?? 0 != 0, status["ready"].bool != true else { return nil }
            return status["name"].string
        }
    }

    private func finding(_ status: JSON, isInitial: Bool) -> Finding? {
        let name = status["name"].string ?? ""
        let object = "pod \(pod.key), \(isInitial ? "init container" : "container") \(name)"
        if let reason = status["state"]["waiting"]["reason"].string {
            return waiting(reason, status["state"]["waiting"]["message"].string, status, object, name)
        }
        if let ended = status["state"]["terminated"] {
            // The next start is a moment away, or there is none.
            guard ended["exitCode"].int ?? 0 != 0 || !isInitial else { return nil }
            return crash(status, ended, object, name)
        }
        guard status["state"]["running"] != nil else { return nil }
        if isInitial, status["started"].bool != false {
            return Finding(
                "InitContainerRuns", object: object, problem: "has not ended, and the others wait for it",
                cause: "it runs since \(status["state"]["running"]["startedAt"].string ?? "its start")",
                nextStep: "kubectl logs \(pod.name)\(pod.inNamespace) -c \(name)")
        }
        return probe(status, object, name)
    }

    // MARK: - Waiting

    private static let imageReasons: Set<String> = [
        "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
        "RegistryUnavailable",
    ]

    private func waiting(
        _ reason: String, _ message: String?, _ status: JSON, _ object: String, _ name: String
    ) -> Finding? {
        switch reason {
        case "CrashLoopBackOff": return crash(status, status["lastState"]["terminated"] ?? nil, object, name)
        case _ where Self.imageReasons.contains(reason): return image(reason, message, status, object)
        case "CreateContainerConfigError":
            let missing = MissingObject(message ?? "", in: pod)
            return Finding(
                missing?.reason ?? "ContainerConfig", object: object, problem: "cannot be configured (\(reason))",
                cause: message ?? reason, nextStep: missing?.command ?? change("container \(name)"))
        case "CreateContainerError", "RunContainerError", "PostStartHookError", "PreCreateHookError":
            return Finding(
                "ContainerCannotStart", object: object, problem: "cannot start (\(reason))", cause: message ?? reason,
                nextStep: change("the command of container \(name)"))
        case "ContainerCreating", "PodInitializing": return nil
        default:
            return Finding(
                "ContainerWaits", object: object, problem: "waits (\(reason))", cause: message ?? reason,
                nextStep: "kubectl describe pod \(pod.name)\(pod.inNamespace)")
        }
    }

    private func image(_ reason: String, _ message: String?, _ status: JSON, _ object: String) -> Finding {
        let image = status["image"].string ?? ""
        // The waiting message of a back-off does not repeat the failure; the event does.
        let failure = index.message(pod.uid, "Failed", prefix: "Failed to pull image")
        let cause = (reason == "ImagePullBackOff" ? failure : nil) ?? message ?? failure ?? reason
        let isNameBad = reason == "InvalidImageName"
        return Finding(
            "ImageUnavailable", object: object, problem: "cannot get its image \(image) (\(reason))", cause: cause,
            nextStep: isNameBad
                ? change("the image \(image)") : "catbird image pull \(image), or catbird image load ARCHIVE.tar")
    }

    // MARK: - Ended

    /// `it ended with 3 (Error)`
    static func ending(_ ended: JSON?) -> String {
        let code = ended["exitCode"].int ?? 0
        let reason = ended["reason"].string ?? "Error"
        let message = ended["message"].string.map { ": \($0.trimmed)" } ?? ""
        return "it ended with \(code) (\(reason))\(message)"
    }

    private func crash(_ status: JSON, _ ended: JSON?, _ object: String, _ name: String) -> Finding {
        let count = status["restartCount"].int ?? 0
        let again = count == 0 ? "" : ", started again \(count) time\(count == 1 ? "" : "s")"
        let logs = "kubectl logs \(pod.name)\(pod.inNamespace) -c \(name)" + (count > 0 ? " --previous" : "")
        if ended["reason"].string == "OOMKilled" {
            let limit = containerSpec(name)["resources"]["limits"]["memory"].string ?? "its node has"
            return Finding(
                "OutOfMemory", object: object, problem: "was killed for its memory (OOMKilled)\(again)",
                cause: "it took more than \(limit)",
                nextStep: index.template(of: pod).map {
                    "kubectl set resources \($0.kind) \($0.name)\(pod.inNamespace) -c \(name) --limits=memory=MORE"
                } ?? change("resources.limits.memory of container \(name)"))
        }
        if let answer = probeAnswer("Liveness", of: ended) {
            return Finding(
                "LivenessProbe", object: object, problem: "is killed because its liveness probe fails\(again)",
                cause: "\(probeText("livenessProbe", name)): \(answer)", nextStep: logs)
        }
        if let answer = probeAnswer("Startup", of: ended) {
            return Finding(
                "StartupProbe", object: object, problem: "is killed because its startup probe fails\(again)",
                cause: "\(probeText("startupProbe", name)): \(answer)", nextStep: logs)
        }
        var cause = ended == nil ? "its node does not say how it ended" : Self.ending(ended)
        if let words = cluster.lastWords[ContainerKey(pod.key, name)] {
            cause += words.isEmpty ? "; it wrote nothing" : "; its last lines: \(words)"
        }
        return Finding("CrashLoop", object: object, problem: "does not stay up\(again)", cause: cause, nextStep: logs)
    }

    // MARK: - Probes

    private func probe(_ status: JSON, _ object: String, _ name: String) -> Finding? {
        let isStarting = status["started"].bool == false
        let kind = isStarting ? "startup" : "readiness"
        guard let spec = containerSpec(name)["\(kind)Probe"], !spec.isNull else { return nil }
        let answer = probeAnswer(isStarting ? "Startup" : "Readiness") ?? "it has not answered yet"
        return Finding(
            isStarting ? "StartupProbe" : "ReadinessProbe", object: object,
            problem: "runs, and its \(kind) probe fails", cause: "\(probeText("\(kind)Probe", name)): \(answer)",
            nextStep: "kubectl logs \(pod.name)\(pod.inNamespace) -c \(name)")
    }

    /// The latest answer; of a container that has ended only what was answered in its life.
    private func probeAnswer(_ kind: String, of ended: JSON? = nil) -> String? {
        let begin = "\(kind) probe "
        guard let event = index.event(pod.uid, "Unhealthy", prefix: begin), let message = event["message"].string
        else { return nil }
        // Times are those of two clocks, so that who was killed is believed to have been killed for it.
        let wasKilled = [137, 143].contains(ended["exitCode"].int ?? 0)
        guard wasKilled || event["lastTimestamp"].string ?? "~" >= ended["startedAt"].string ?? "" else { return nil }
        return String(message.dropFirst(begin.count)).trimmed
    }

    /// `GET :3000/ready`
    private func probeText(_ field: String, _ container: String) -> String {
        let probe = containerSpec(container)[field]
        let port = { (value: JSON?) in value.string ?? value.int.map { "\($0)" } ?? "" }
        if let http = probe["httpGet"] {
            return "GET :\(port(http["port"]))\(http["path"].string ?? "/") every \(probe["periodSeconds"].int ?? 10) s"
        }
        if let tcp = probe["tcpSocket"] { return "a connection to port \(port(tcp["port"]))" }
        if let grpc = probe["grpc"] { return "gRPC on port \(port(grpc["port"]))" }
        let command = (probe["exec"]["command"].array ?? []).compactMap(\.string)
        return command.isEmpty ? field : command.map(\.shellQuoted).joined(separator: " ")
    }

    private func containerSpec(_ name: String) -> JSON? {
        ((pod["spec"]["containers"].array ?? []) + (pod["spec"]["initContainers"].array ?? []))
            .first { $0["name"].string == name }
    }

    private func change(_ what: String) -> String {
        guard let template = index.template(of: pod) else {
            return "change \(what) in the manifest, then kubectl replace --force -f FILE"
        }
        return "kubectl edit \(template.kind) \(template.name)\(pod.inNamespace)"
    }
}
