// SPDX-License-Identifier: Apache-2.0

/// What the clients of a process tell of their requests, under the names that upstream's have.
enum ClientMetrics {
    private static let requests = ProcessMetrics.shared.family(
        .counter, "rest_client_requests_total", "Requests to the API server by method and response code.",
        labels: ["code", "host", "method"])
    private static let durations = ProcessMetrics.shared.family(
        .histogram, "rest_client_request_duration_seconds", "How long the API server takes to answer.",
        labels: ["host", "verb"], bounds: MetricFamily.requestSeconds)
    /// A process speaks to one API server, by whatever way.
    private static let host = "apiserver"

    static func answered(_ method: String, code: String, since start: ContinuousClock.Instant) {
        requests.add(1, [code, host, method])
        durations.observe(since: start, [host, method])
    }
}
