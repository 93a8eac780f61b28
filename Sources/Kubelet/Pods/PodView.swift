// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import Values

/// What a kubelet reads of a Pod: a thin view, made once for each version of the object.
package struct PodView: Sendable {
    package let object: KubeObject

    package init(_ object: KubeObject) { self.object = object }

    package var spec: JSON? { object["spec"] }
    package var name: String { object.name }
    package var namespace: String { object.namespace ?? "default" }
    package var uid: String { object.uid }
    package var key: ObjectKey { object.key }
    /// `name_namespace(uid)`, as messages name a pod.
    package var title: String { "\(name)_\(namespace)(\(uid))" }

    package var containers: [ContainerView] { containers("containers", .regular) }
    package var initContainers: [ContainerView] { containers("initContainers", .initial) }
    /// Those that the pod was created with.
    package var allContainers: [ContainerView] { initContainers + containers }
    /// Those that were added to the running pod, for debugging: each runs once.
    package var ephemeralContainers: [ContainerView] { containers("ephemeralContainers", .ephemeral) }

    private func containers(_ list: String, _ role: ContainerView.Role) -> [ContainerView] {
        spec[list].array?.map { ContainerView(json: $0, role: role) } ?? []
    }

    package var restartPolicy: RestartPolicy { spec["restartPolicy"].string.flatMap(RestartPolicy.init) ?? .always }
    package var hostNetwork: Bool { spec["hostNetwork"].bool ?? false }
    package var serviceAccount: String {
        spec["serviceAccountName"].string ?? spec["serviceAccount"].string ?? "default"
    }
    package var terminationGracePeriod: Int { Self.grace(spec["terminationGracePeriodSeconds"].int ?? 30) }
    /// Set when the pod is being deleted: how long its containers may take.
    package var deletionGracePeriod: Int? {
        guard object.isBeingDeleted else { return nil }
        return Self.grace(object.metadata["deletionGracePeriodSeconds"].int ?? terminationGracePeriod)
    }
    /// A year: longer waits are as good as none.
    static let longestGrace = 31_536_000
    private static func grace(_ seconds: Int) -> Int { min(max(seconds, 0), longestGrace) }
    package var hostname: String { spec["hostname"].string ?? String(name.prefix(63)) }
    package var subdomain: String? { spec["subdomain"].string.flatMap { $0.isEmpty ? nil : $0 } }
    package var dnsPolicy: String { spec["dnsPolicy"].string ?? "ClusterFirst" }
    package var activeDeadline: Int? { spec["activeDeadlineSeconds"].int }
    package var phase: String { object["status"]["phase"].string ?? "Pending" }
    package var isTerminal: Bool { phase == "Succeeded" || phase == "Failed" }
    package var readinessGates: [String] {
        spec["readinessGates"].array?.compactMap { $0["conditionType"].string } ?? []
    }

    package enum RestartPolicy: String, Sendable {
        case always = "Always"
        case onFailure = "OnFailure"
        case never = "Never"

        /// Whether a container that ended so is started again.
        package func restarts(exitCode: Int) -> Bool {
            switch self {
            case .always: true
            case .onFailure: exitCode != 0
            case .never: false
            }
        }
    }
}

/// What a kubelet reads of a container.
package struct ContainerView: Sendable {
    /// Which of the pod's lists it is in.
    package enum Role: Sendable, Hashable {
        case regular
        case initial
        case ephemeral

        var specList: String {
            switch self {
            case .regular: "spec.containers"
            case .initial: "spec.initContainers"
            case .ephemeral: "spec.ephemeralContainers"
            }
        }

        var metricType: String {
            switch self {
            case .regular: "container"
            case .initial: "init_container"
            case .ephemeral: "ephemeral_container"
            }
        }

        var statusList: String {
            switch self {
            case .regular: "containerStatuses"
            case .initial: "initContainerStatuses"
            case .ephemeral: "ephemeralContainerStatuses"
            }
        }
    }

    package let json: JSON
    package let role: Role

    package init(json: JSON, role: Role) {
        self.json = json
        self.role = role
    }

    package var name: String { json["name"].string ?? "" }
    package var image: String { json["image"].string ?? "" }
    /// `spec.containers{web}`: what an event points at.
    package var fieldPath: String { "\(role.specList){\(name)}" }
    /// The container whose processes an ephemeral one sees.
    package var target: String? { json["targetContainerName"].string.flatMap { $0.isEmpty ? nil : $0 } }
    package var command: [String] { json["command"].array?.compactMap(\.string) ?? [] }
    package var arguments: [String] { json["args"].array?.compactMap(\.string) ?? [] }
    package var tty: Bool { json["tty"].bool ?? false }
    package var stdin: Bool { json["stdin"].bool ?? false }
    package var stdinOnce: Bool { json["stdinOnce"].bool ?? false }
    package var terminationMessagePath: String { json["terminationMessagePath"].string ?? "/dev/termination-log" }
    package var fallsBackToLogs: Bool { json["terminationMessagePolicy"].string == "FallbackToLogsOnError" }

    /// Without a policy: Always for the tag `latest` and for no tag, else IfNotPresent.
    package var imagePullPolicy: String {
        if let policy = json["imagePullPolicy"].string, !policy.isEmpty { return policy }
        if image.contains("@") { return "IfNotPresent" }
        let last = image.split(separator: "/").last.map(String.init) ?? image
        let tag = last.split(separator: ":", maxSplits: 1).dropFirst().first
        return tag == nil || tag == "latest" ? "Always" : "IfNotPresent"
    }
}
