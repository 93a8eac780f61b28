// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects

/// What the server tells of itself at `/metrics`, under the names that upstream's has.
final class RequestMetrics: Sendable {
    private static let labels = [
        "verb", "group", "version", "resource", "subresource", "scope", "component", "dry_run",
    ]

    /// Of upstream's bounds those that tell fast from slow here, and those that dashboards' objectives name (1, 5, 30 s):
    /// each stands once for every verb and resource, and is what most of the text is made of.
    private static let seconds: [Double] = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 1, 5, 10, 30]
    private static let ownSeconds: [Double] = [0.05, 0.1, 0.2, 0.4, 1, 5, 30]

    private let requests = MetricFamily(
        .counter, "apiserver_request_total", "Requests by verb, resource and response code.",
        labels: labels + ["code"])
    private let durations = MetricFamily(
        .histogram, "apiserver_request_duration_seconds", "How long it takes to answer, but for what is streamed.",
        labels: labels, bounds: seconds)
    /// No time is spent on webhooks, which is what is left out here.
    private let ownDurations = MetricFamily(
        .histogram, "apiserver_request_sli_duration_seconds",
        "How long the server itself takes to answer, but for what is streamed.", labels: labels,
        bounds: ownSeconds)
    private let inFlight = MetricFamily(
        .gauge, "apiserver_current_inflight_requests", "Requests that are being answered, but for what is streamed.",
        labels: ["request_kind"])
    private let storeDurations = MetricFamily(
        .histogram, "etcd_request_duration_seconds", "How long the store takes to write.",
        labels: ["operation", "type"], bounds: seconds)

    init() {
        for kind in ["mutating", "readOnly"] { inFlight.touch([kind]) }
        for operation in ["create", "delete", "update"] { storeDurations.touch([operation, "/registry/"]) }
    }

    private static let mutating: Set<String> = ["create", "update", "patch", "delete", "deletecollection"]
    private static let streamed: Set<String> = ["exec", "attach", "portforward", "proxy", "log"]

    /// A request that is being answered.
    struct Flight {
        fileprivate let kind: String?
        fileprivate let start = ContinuousClock.now
    }

    func begin(_ info: RequestInfo) -> Flight {
        guard info.verb != "watch", !Self.streamed.contains(info.subresource) else { return Flight(kind: nil) }
        let kind = Self.mutating.contains(info.verb) ? "mutating" : "readOnly"
        inFlight.add(1, [kind])
        return Flight(kind: kind)
    }

    func end(_ flight: Flight, _ info: RequestInfo, _ registry: ResourceRegistry, dryRun: String?, code: Int) {
        if let kind = flight.kind { inFlight.add(-1, [kind]) }
        // Only what is served is counted one by one: anybody can ask for any number of paths, and be refused.
        guard info.isResourceRequest, code != 404, let type = registry.resource(info.groupVersionResource),
            info.subresource.isEmpty || type.subresource(info.subresource) != nil
        else { return }
        let scope = info.name != nil ? "resource" : info.namespace != nil ? "namespace" : "cluster"
        let values = [
            info.verb.uppercased(), info.group, info.version, info.resource, info.subresource, scope, "apiserver",
            dryRun == "All" ? "All" : "",
        ]
        requests.add(1, values + [String(code)])
        guard flight.kind != nil else { return }
        durations.observe(since: flight.start, values)
        ownDurations.observe(since: flight.start, values)
    }

    /// How long the store takes for a write.
    func stored<Value>(_ operation: String, _ resource: StorageKey, _ write: () async throws -> Value) async throws
        -> Value
    {
        let start = ContinuousClock.now
        defer { storeDurations.observe(since: start, [operation, resource.prefix]) }
        return try await write()
    }

    /// The text format of Prometheus.
    func text(_ mirror: Mirror, storedBytes: Int?, version: String) -> String {
        var text = ""
        for family in [requests, durations, ownDurations, inFlight, storeDurations, mirror.watchEvents] {
            family.append(to: &text)
        }
        let objects = MetricFamily(
            .gauge, "apiserver_storage_objects", "Objects in the store by resource.", labels: ["resource"])
        let watches = MetricFamily(
            .gauge, "apiserver_longrunning_requests", "Watches that are open.",
            labels: ["verb", "group", "version", "resource", "scope", "component"])
        for (resource, count, watchers) in mirror.counts() {
            objects.set(Double(count), [resource.resource.groupResource])
            watches.set(
                Double(watchers),
                [
                    "WATCH", resource.resource.group, resource.resource.version, resource.resource.resource, "",
                    "apiserver",
                ])
        }
        let revision = MetricFamily(.gauge, "catbird_storage_revision", "Revision of the store.")
        revision.set(Double(mirror.revision))
        let size = MetricFamily(
            .gauge, "apiserver_storage_size_bytes", "Size of the store's files.", labels: ["storage_cluster_id"])
        if let storedBytes { size.set(Double(storedBytes), ["etcd-0"]) }
        let build = MetricFamily(
            .gauge, "kubernetes_build_info", "Version of Kubernetes' API that is served.", labels: ["git_version"])
        build.set(1, [version])
        for family in [objects, watches, revision, size, build] { family.append(to: &text) }
        ProcessMetrics.shared.append(to: &text)
        return text
    }
}
