// SPDX-License-Identifier: Apache-2.0

import KubeClient
import Synchronization

/// What the agent counts, under Felix's names, as far as it does what they are about.
final class FelixMetrics: Sendable {
    private let host = MetricFamily(.gauge, "felix_host", "The node.", labels: ["host"])
    private let localEndpoints = MetricFamily(
        .gauge, "felix_active_local_endpoints", "Pods that are wired on this node.")
    private let clusterHosts = MetricFamily(.gauge, "felix_cluster_num_hosts", "Nodes of the cluster.")
    private let clusterEndpoints = MetricFamily(
        .gauge, "felix_cluster_num_workload_endpoints", "Addresses of pods in the cluster.")
    private let failures = MetricFamily(
        .counter, "felix_int_dataplane_failures", "Changes of the kernel that failed and were tried again.")
    private let messages = MetricFamily(
        .counter, "felix_int_dataplane_messages", "What the kernel was to be changed for.", labels: ["type"])
    private let resync = MetricFamily(
        .gauge, "felix_resync_state", "2 while the datastore's objects come in, 3 when they are all there.")
    private let repairs = MetricFamily(
        .counter, "felix_int_dataplane_repairs", "What somebody else had taken away and was put back.")
    private let calculation = Summary(
        "felix_calc_graph_update_time_seconds", "How long it took to work out what the kernel should hold.")
    private let application = Summary(
        "felix_int_dataplane_apply_time_seconds", "How long it took to bring the kernel there.")

    init(node: String) {
        host.set(1, [node])
        resync.set(2)
    }

    func isComplete() { resync.set(3) }

    func calculated(nodes: Int, endpoints: Int, since start: ContinuousClock.Instant) {
        clusterHosts.set(Double(nodes))
        clusterEndpoints.set(Double(endpoints))
        calculation.observe(since: start)
    }

    func applied(localEndpoints count: Int, since start: ContinuousClock.Instant) {
        localEndpoints.set(Double(count))
        messages.add(1, ["update"])
        application.observe(since: start)
    }

    func failed() { failures.add() }
    func repaired(_ count: Int) { repairs.add(Double(count)) }

    /// In Prometheus' text format.
    func exposition(withProcess: Bool) -> String {
        var text = ""
        for family in [
            host, localEndpoints, clusterHosts, clusterEndpoints, failures, messages, repairs, resync,
        ] { family.append(to: &text) }
        for summary in [calculation, application] { summary.append(to: &text) }
        if withProcess { ProcessMetrics.shared.append(to: &text) }
        return text
    }
}

/// Seconds with their quantiles over the last observations, as Felix tells of them.
final class Summary: Sendable {
    private struct State {
        var recent: [Double] = []
        var next = 0
        var count = 0
        var sum = 0.0
    }

    /// So many observations the quantiles are of.
    private static let window = 500
    private static let quantiles = [0.5, 0.9, 0.99]

    private let name: String
    private let help: String
    private let state = Mutex(State())

    init(_ name: String, _ help: String) {
        self.name = name
        self.help = help
    }

    func observe(since start: ContinuousClock.Instant) { observe((ContinuousClock.now - start) / .seconds(1)) }

    func observe(_ seconds: Double) {
        state.withLock { state in
            state.count += 1
            state.sum += seconds
            if state.recent.count < Self.window {
                state.recent.append(seconds)
            } else {
                state.recent[state.next] = seconds
            }
            state.next = (state.next + 1) % Self.window
        }
    }

    func append(to text: inout String) {
        let (recent, count, sum) = state.withLock { ($0.recent.sorted(), $0.count, $0.sum) }
        text += "# HELP \(name) \(help)\n# TYPE \(name) summary\n"
        for quantile in Self.quantiles {
            let index = Int((Double(recent.count) * quantile).rounded(.up)) - 1
            let value = recent.indices.contains(index) ? "\(recent[index])" : "NaN"
            text += "\(name){quantile=\"\(quantile)\"} \(value)\n"
        }
        text += "\(name)_sum \(sum)\n\(name)_count \(count)\n"
    }
}
