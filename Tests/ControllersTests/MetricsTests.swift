// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

/// What dashboards for Kubernetes ask for is there, under upstream's names.
@Suite(.timeLimit(.minutes(1))) struct MetricsTests {
    /// The queries of three public dashboards of the Kubernetes mixin, without what narrows them to a cluster.
    static let queries: [String: [String]] = [
        "API server": [
            #"sum by (verb, scope, le) (rate(apiserver_request_sli_duration_seconds_bucket{verb=~"LIST|GET"}[5m]))"#,
            #"sum(rate(apiserver_request_sli_duration_seconds_count{verb=~"POST|PUT|PATCH|DELETE"}[5m]))"#,
            #"sum by (code, verb) (rate(apiserver_request_total{code=~"2.."}[5m]))"#,
            #"histogram_quantile(0.99, sum by (le, resource) (rate(apiserver_request_duration_seconds_bucket{subresource!="log"}[5m])))"#,
            "sum(rate(apiserver_request_duration_seconds_sum[5m])) / sum(rate(apiserver_request_duration_seconds_count[5m]))",
            "sum by (request_kind) (apiserver_current_inflight_requests)",
            "sum by (resource) (apiserver_storage_objects)",
            "sum by (kind) (rate(apiserver_watch_events_total[5m]))",
            "sum by (resource) (apiserver_longrunning_requests)",
            "histogram_quantile(0.99, sum by (operation, le) (rate(etcd_request_duration_seconds_bucket[5m])))",
            #"sum by (instance, name) (rate(workqueue_adds_total{job="apiserver"}[5m]))"#,
            #"sum by (instance, name) (rate(workqueue_depth{job="apiserver"}[5m]))"#,
            #"histogram_quantile(0.99, sum by (name, le) (rate(workqueue_queue_duration_seconds_bucket{job="apiserver"}[5m])))"#,
            #"process_resident_memory_bytes{job="apiserver"}"#,
            #"rate(process_cpu_seconds_total{job="apiserver"}[5m])"#,
            "process_open_fds", "process_max_fds", "process_start_time_seconds", "kubernetes_build_info",
        ],
        "Controller manager": [
            "sum by (name) (rate(workqueue_adds_total[5m]))", "sum by (name) (rate(workqueue_depth[5m]))",
            "histogram_quantile(0.99, sum by (name, le) (rate(workqueue_queue_duration_seconds_bucket[5m])))",
            "histogram_quantile(0.99, sum by (name, le) (rate(workqueue_work_duration_seconds_bucket[5m])))",
            "sum by (name) (rate(workqueue_retries_total[5m]))",
            #"sum(rate(rest_client_requests_total{code=~"2.."}[5m]))"#,
            #"histogram_quantile(0.99, sum by (verb, le) (rate(rest_client_request_duration_seconds_bucket{verb="POST"}[5m])))"#,
            "process_resident_memory_bytes", "rate(process_cpu_seconds_total[5m])",
        ],
        "Scheduler": [
            "sum(rate(scheduler_e2e_scheduling_duration_seconds_count[5m]))",
            "sum(rate(scheduler_binding_duration_seconds_count[5m]))",
            "sum(rate(scheduler_scheduling_algorithm_duration_seconds_count[5m]))",
            "histogram_quantile(0.99, sum by (le) (rate(scheduler_scheduling_attempt_duration_seconds_bucket[5m])))",
            "histogram_quantile(0.99, sum by (le) (rate(scheduler_pod_scheduling_sli_duration_seconds_bucket[5m])))",
            "sum by (result) (rate(scheduler_schedule_attempts_total[5m]))", "sum by (queue) (scheduler_pending_pods)",
            "rate(scheduler_preemption_attempts_total[5m])", "scheduler_preemption_victims_sum",
            #"sum(rate(rest_client_requests_total{code=~"2.."}[5m]))"#, "process_resident_memory_bytes",
        ],
    ]

    private static let words: Set<String> = [
        "sum", "by", "rate", "histogram_quantile", "le", "verb", "scope", "code", "resource", "request_kind", "kind",
        "operation", "instance", "name", "result", "queue", "m",
    ]

    /// The names of series in a query.
    private static func series(_ query: String) -> [String] {
        var text = query
        for pattern in [/\{[^}]*\}/, /\[[^\]]*\]/] { text = text.replacing(pattern, with: "") }
        return text.matches(of: /[a-z_][a-z_0-9]*/).map { String($0.output) }.filter {
            !words.contains($0) && $0.contains("_")
        }
    }

    @Test func everySeriesOfTheDashboardsIsThere() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(.deployments, Manifests.deployment("web"))
            try await cluster.until(.deployments, in: "default") { $0.first?["status"]["availableReplicas"].int == 2 }
            let text = try await cluster.client.text("/metrics")
            var there: Set<Substring> = []
            for line in text.split(separator: "\n") where !line.hasPrefix("#") {
                there.insert(line.prefix { $0 != "{" && $0 != " " })
                #expect(Double(line.split(separator: " ").last ?? "") != nil, "\(line)")
            }
            for (dashboard, queries) in Self.queries {
                for query in queries {
                    let names = Self.series(query)
                    #expect(!names.isEmpty, "\(query)")
                    for name in names { #expect(there.contains(Substring(name)), "\(dashboard): \(name)") }
                }
            }
            // They count what happens: two pods were bound, each once.
            #expect(text.contains(#"scheduler_pending_pods{queue="unschedulable"} 0"#))
            #expect(text.contains(#"workqueue_adds_total{name="deployment"} "#))
            #expect(
                text.contains(
                    #"apiserver_request_total{verb="CREATE",group="",version="v1",resource="pods",subresource="binding",scope="resource",component="apiserver",dry_run="",code="201"} 2"#
                ))
            let buckets = text.split(separator: "\n").filter {
                $0.hasPrefix(#"apiserver_request_duration_seconds_bucket{verb="CREATE",group="apps""#)
            }
            #expect(buckets.last?.contains(#"le="+Inf""#) == true && buckets.count % 11 == 0, "\(buckets)")
        }
    }
}
