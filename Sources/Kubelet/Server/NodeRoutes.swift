// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import HTTPServing
import KubeClient
import KubeObjects
import Values

/// What a kubelet tells of its node: how it is, what runs, what that uses, and how it is set up.
struct NodeRoutes: Sendable {
    let context: KubeletContext
    let pods: PodManager
    let statistics: NodeStatistics

    init(context: KubeletContext, pods: PodManager) {
        self.context = context
        self.pods = pods
        statistics = NodeStatistics(context: context)
    }

    /// Nil for paths that are not of the node.
    func respond(to request: ServerRequest, _ parts: [String]) -> ServerAnswer? {
        switch parts.first {
        case "healthz": return health(request, parts)
        case "pods" where parts.count == 1: return .json(list(pods.pods))
        case "runningpods" where parts.count == 1: return .json(list(runningPods))
        case "stats" where parts == ["stats", "summary"]: return .json(statistics.summary(pods.pods.map(PodView.init)))
        case "metrics": return metrics(parts)
        case "configz" where parts.count == 1: return .json(["kubeletconfig": settings])
        case "logs": return logFile(request.path)
        default: return nil
        }
    }

    // MARK: Health

    /// The checks of `/healthz`; each has a path of its own.
    private func health(_ request: ServerRequest, _ parts: [String]) -> ServerAnswer {
        let isSynced = pods.informer.hasSynced
        let checks: [(name: String, failure: String?)] = [
            ("ping", nil), ("syncloop", isSynced ? nil : "the node's pods have not been read from the API server yet"),
        ]
        if parts.count == 2 {
            guard let check = checks.first(where: { $0.name == parts[1] }) else { return Self.notFound }
            return check.failure.map { .text(500, "internal server error: \($0)\n") } ?? .text(200, "ok")
        }
        guard parts.count == 1 else { return Self.notFound }
        let lines = checks.map { $0.failure == nil ? "[+]\($0.name) ok\n" : "[-]\($0.name) failed: reason withheld\n" }
        if checks.contains(where: { $0.failure != nil }) {
            return .text(500, lines.joined() + "healthz check failed\n")
        }
        return .text(200, request.value("verbose") == nil ? "ok" : lines.joined() + "healthz check passed\n")
    }

    private static let notFound = ServerAnswer.text(404, "404 page not found\n")

    // MARK: Pods

    private func list(_ pods: [KubeObject]) -> JSON {
        ["kind": "PodList", "apiVersion": "v1", "metadata": [:], "items": .array(pods.map(\.json))]
    }

    /// The pods of which the runtime has running containers, as far as it knows them.
    private var runningPods: [KubeObject] {
        let running = context.runtime.containers().filter { $0.state == .running }
        return Dictionary(grouping: running) { $0.labels[ContainerLabels.podUID] ?? "" }
            .compactMap { uid, containers in
                guard let labels = containers.first?.labels else { return nil }
                var pod = KubeObject([
                    "metadata": [
                        "name": JSON(labels[ContainerLabels.podName] ?? ""),
                        "namespace": JSON(labels[ContainerLabels.podNamespace] ?? ""), "uid": JSON(uid),
                    ]
                ])
                pod["spec"] = [
                    "containers": .array(
                        containers.map {
                            ["name": JSON($0.labels[ContainerLabels.container] ?? $0.name), "image": JSON($0.image)]
                        })
                ]
                pod["status"] = [:]
                return pod
            }.sorted { ($0.namespace ?? "", $0.name) < ($1.namespace ?? "", $1.name) }
    }

    // MARK: Metrics

    private func metrics(_ parts: [String]) -> ServerAnswer {
        let text: String
        switch parts {
        case ["metrics"]: text = KubeletMetrics.text(context, pods.pods.map(PodView.init))
        case ["metrics", "resource"]: text = statistics.resourceMetrics(pods.pods.map(PodView.init))
        case ["metrics", "cadvisor"]: text = GroupMetrics(statistics, pods.allPods.map(PodView.init)).text
        default: return Self.notFound
        }
        return .bytes(status: 200, type: "text/plain; version=0.0.4; charset=utf-8", Array(text.utf8))
    }

    // MARK: Settings

    /// The settings that are in effect, as a KubeletConfiguration has them.
    private var settings: JSON {
        let settings = context.configuration
        return [
            "address": JSON(settings.nodeIP.family == .v4 ? "0.0.0.0" : "::"), "port": JSON(settings.port),
            "authentication": [
                "x509": ["clientCAFile": "\(settings.rootDirectory)/pki/ca.crt"],
                "webhook": ["enabled": true, "cacheTTL": "2m0s"],
                "anonymous": ["enabled": false],
            ],
            "authorization": [
                "mode": "Webhook", "webhook": ["cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"],
            ],
            "clusterDomain": JSON(settings.clusterDomain),
            "clusterDNS": JSON(settings.clusterDNS.map(\.description)), "maxPods": JSON(settings.maxPods),
            "registerNode": JSON(settings.registersNode), "resolvConf": JSON(settings.resolvConfPath),
            "cgroupDriver": "cgroupfs", "cgroupRoot": JSON(settings.cgroupRoot), "cgroupsPerQOS": true,
            "podLogsDir": JSON(settings.podLogDirectory),
            "containerLogMaxSize": "\(LogRotator.maximumSize >> 20)Mi",
            "containerLogMaxFiles": JSON(LogRotator.maximumFiles), "nodeStatusReportFrequency": "5m0s",
            "nodeLeaseDurationSeconds": 40, "enableServer": true, "enableDebuggingHandlers": true,
            "enableSystemLogHandler": true, "failSwapOn": false,
        ]
    }

    // MARK: Logs

    /// A file of the node's log folder: `logs/pods/…`.
    private func logFile(_ path: String) -> ServerAnswer {
        switch FileFolder(root: "/var/log").look(path, below: "/logs") {
        case .nothing: return Self.notFound
        case .redirect(let target): return .redirect(target)
        case .listing(let page): return .bytes(status: 200, type: "text/html; charset=utf-8", Array(page.utf8))
        case .file(let file):
            return .stream(type: "text/plain; charset=utf-8") { write in try await file.read { try await write($0) } }
        }
    }
}
