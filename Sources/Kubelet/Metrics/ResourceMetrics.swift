// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Linux
import Values

extension NodeStatistics {
    /// `/metrics/resource`: what a metrics server asks for.
    func resourceMetrics(_ pods: [PodView]) -> String {
        var text = MetricsText()
        var cpu: [(String, Double)] = []
        var memory: [(String, Double)] = []
        var starts: [(String, Double)] = []
        var podCPU: [(String, Double)] = []
        var podMemory: [(String, Double)] = []
        for pod in pods {
            let place = "namespace=\"\(pod.namespace)\",pod=\"\(pod.name)\""
            for container in containers(of: pod) {
                guard let usage = context.cgroups.usage(of: container.cgroupPath) else { continue }
                let labels = "container=\"\(Self.name(container))\",\(place)"
                cpu.append((labels, Double(usage.cpuNanoseconds) / 1e9))
                memory.append((labels, Double(usage.workingSetBytes)))
                if let start = container.startedAt {
                    starts.append((labels, start.seconds(since: Timestamp(seconds: 0))))
                }
            }
            guard let group = context.cgroups.path(of: pod), let usage = context.cgroups.usage(of: group) else {
                continue
            }
            podCPU.append((place, Double(usage.cpuNanoseconds) / 1e9))
            podMemory.append((place, Double(usage.workingSetBytes)))
        }
        text.add("container_cpu_usage_seconds_total", "counter", "Processor time of a container in seconds.", cpu)
        text.add("container_memory_working_set_bytes", "gauge", "Memory that a container cannot do without.", memory)
        text.add("container_start_time_seconds", "gauge", "When a container was started, since the epoch.", starts)
        text.add("pod_cpu_usage_seconds_total", "counter", "Processor time of a pod in seconds.", podCPU)
        text.add("pod_memory_working_set_bytes", "gauge", "Memory that a pod cannot do without.", podMemory)
        let root = context.configuration.cgroupRoot
        let node = root.isEmpty ? nil : context.cgroups.usage(of: root)
        text.add(
            "node_cpu_usage_seconds_total", "counter", "Processor time of the node in seconds.",
            node.map { [("", Double($0.cpuNanoseconds) / 1e9)] } ?? [])
        text.add(
            "node_memory_working_set_bytes", "gauge", "Memory that the node cannot do without.",
            node.map { [("", Double($0.workingSetBytes))] } ?? [])
        text.add(
            "resource_scrape_error", "gauge", "1 when the node's figures cannot be read.",
            [("", node == nil ? 1 : 0)])
        return text.text
    }
}

/// The text format of Prometheus.
struct MetricsText {
    private(set) var text = ""

    mutating func add(_ name: String, _ type: String, _ help: String, _ values: [(labels: String, value: Double)]) {
        guard !values.isEmpty else { return }
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        for (labels, value) in values { text += "\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(value)\n" }
    }
}
