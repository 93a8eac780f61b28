// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import Values

/// `/metrics`: the kubelet's own figures, under the names that upstream's have.
enum KubeletMetrics {
    /// Seconds that a call of the runtime takes.
    private static let operationSeconds: [Double] = (0..<14).map { 0.005 * Self.power(2.5, $0) }
    /// Seconds from the first sight of a pod until all of it runs.
    private static let startSeconds: [Double] = [
        0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
    ]

    private static func power(_ base: Double, _ exponent: Int) -> Double {
        (0..<exponent).reduce(1) { product, _ in product * base }
    }

    private static func counter(_ name: String, _ help: String, _ labels: [String] = []) -> MetricFamily {
        ProcessMetrics.shared.family(.counter, name, help, labels: labels)
    }

    private static func histogram(
        _ name: String, _ help: String, _ labels: [String] = [], bounds: [Double] = MetricFamily.requestSeconds
    ) -> MetricFamily {
        ProcessMetrics.shared.family(.histogram, name, help, labels: labels, bounds: bounds)
    }

    static let operations = counter(
        "kubelet_runtime_operations_total", "Calls of the runtime.", ["operation_type"])
    static let operationErrors = counter(
        "kubelet_runtime_operations_errors_total", "Calls of the runtime that failed.", ["operation_type"])
    static let operationDurations = histogram(
        "kubelet_runtime_operations_duration_seconds", "How long calls of the runtime take.", ["operation_type"],
        bounds: operationSeconds)
    static let podStarts = histogram(
        "kubelet_pod_start_duration_seconds", "From the first sight of a pod until it runs.", bounds: startSeconds)
    static let firstStarts = histogram(
        "kubelet_pod_worker_start_duration_seconds", "From the first sight of a pod until its worker works on it.")
    static let rounds = histogram(
        "kubelet_pod_worker_duration_seconds", "How long a round of a pod's worker takes.", ["operation_type"])
    static let cgroupDurations = histogram(
        "kubelet_cgroup_manager_duration_seconds", "How long control groups take to be made and removed.",
        ["operation_type"])
    static let startedPods = counter("kubelet_started_pods_total", "Pods that were begun with.")
    static let startedContainers = counter(
        "kubelet_started_containers_total", "Containers that were begun with.", ["container_type"])
    static let evictions = counter("kubelet_evictions", "Pods that were evicted.", ["eviction_signal"])
    static let rejections = counter("kubelet_admission_rejections_total", "Pods that were refused.", ["reason"])
    static let mounts = histogram(
        "storage_operation_duration_seconds", "How long volumes take to be made ready.",
        ["migrated", "operation_name", "status", "volume_plugin"])
    /// Upstream counts these by the label `status` of the durations now; dashboards ask for both.
    static let mountErrors = counter(
        "storage_operation_errors_total", "Volumes that could not be made ready.", ["operation_name", "volume_plugin"])

    /// What there is now, and all that was counted.
    static func text(_ context: KubeletContext, _ pods: [PodView]) -> String {
        var now = MetricsText()
        now.add(
            "kubelet_node_name", "gauge", "The node's name.", [("node=\"\(context.configuration.nodeName)\"", 1)])
        now.add(
            "kubelet_active_pods", "gauge", "Pods that the kubelet is concerned with.", [("", Double(pods.count))])
        let containers = context.runtime.containers()
        let sandboxes = context.runtime.sandboxes().count { $0.state == .ready }
        now.add("kubelet_running_pods", "gauge", "Pods that have a sandbox.", [("", Double(sandboxes))])
        now.add(
            "kubelet_running_containers", "gauge", "Containers by state.",
            [ContainerStatus.State.created, .running, .exited].map { state in
                ("container_state=\"\(state.rawValue)\"", Double(containers.count { $0.state == state }))
            })
        var volumes: [String: Int] = [:]
        for volume in pods.flatMap({ $0.spec["volumes"].array ?? [] }) { volumes[plugin(of: volume), default: 0] += 1 }
        now.add(
            "volume_manager_total_volumes", "gauge", "Volumes of the pods here.",
            volumes.sorted { $0.key < $1.key }.flatMap { plugin, count in
                ["actual_state_of_world", "desired_state_of_world"].map {
                    ("plugin_name=\"\(plugin)\",state=\"\($0)\"", Double(count))
                }
            })
        var text = now.text
        ProcessMetrics.shared.append(to: &text)
        return text
    }

    /// `kubernetes.io/empty-dir`: as upstream names what serves a volume.
    static func plugin(of volume: JSON) -> String {
        let kind = volume.object?.keys.first { $0 != "name" } ?? ""
        return switch kind {
        case "emptyDir": "kubernetes.io/empty-dir"
        case "hostPath": "kubernetes.io/host-path"
        case "configMap": "kubernetes.io/configmap"
        case "downwardAPI": "kubernetes.io/downward-api"
        default: "kubernetes.io/\(kind.lowercased())"
        }
    }
}
