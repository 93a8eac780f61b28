// SPDX-License-Identifier: Apache-2.0

import KubeClient

/// What the server counts, under the names and labels that CoreDNS has for it.
package final class DNSMetrics: Sendable {
    /// Who asked, and how.
    package struct Asker: Sendable {
        let address: String
        let overTCP: Bool
        let isV6: Bool

        package init(address: String, overTCP: Bool, isV6: Bool) {
            self.address = address
            self.overTCP = overTCP
            self.isV6 = isV6
        }

        var transport: String { overTCP ? "tcp" : "udp" }
    }

    private static let place = ["server", "zone", "view"]
    private static let seconds = (0..<16).map { 0.00025 * Double(1 << $0) }
    private static let bytes: [Double] = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3]
    private static let codes: [UInt8: String] = [
        0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED",
    ]
    private static let types: [UInt16: String] = [
        1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 41: "OPT",
        43: "DS", 48: "DNSKEY", 65: "HTTPS", 255: "ANY",
    ]

    private let build = MetricFamily(
        .gauge, "coredns_build_info", "The program.", labels: ["goversion", "revision", "version"])
    private let plugins = MetricFamily(
        .gauge, "coredns_plugin_enabled", "Plugins that are in force.", labels: place + ["name"])
    private let requests = MetricFamily(
        .counter, "coredns_dns_requests_total", "Questions.", labels: place + ["proto", "family", "type"])
    private let responses = MetricFamily(
        .counter, "coredns_dns_responses_total", "Answers.", labels: place + ["rcode", "plugin"])
    private let durations = MetricFamily(
        .histogram, "coredns_dns_request_duration_seconds", "How long an answer took.", labels: place,
        bounds: seconds)
    private let requestSizes = MetricFamily(
        .histogram, "coredns_dns_request_size_bytes", "Sizes of questions.", labels: place + ["proto"], bounds: bytes)
    private let responseSizes = MetricFamily(
        .histogram, "coredns_dns_response_size_bytes", "Sizes of answers.", labels: place + ["proto"], bounds: bytes)
    private let cacheRequests = MetricFamily(
        .counter, "coredns_cache_requests_total", "Questions to the cache.", labels: ["server", "zones", "view"])
    private let cacheHits = MetricFamily(
        .counter, "coredns_cache_hits_total", "Answers from the cache.", labels: ["server", "type", "zones", "view"])
    private let cacheMisses = MetricFamily(
        .counter, "coredns_cache_misses_total", "Questions that the cache could not answer.",
        labels: ["server", "zones", "view"])
    private let cacheEntries = MetricFamily(
        .gauge, "coredns_cache_entries", "Answers in the cache.", labels: ["server", "type", "zones", "view"])
    private let upstream = MetricFamily(
        .histogram, "coredns_proxy_request_duration_seconds", "How long upstream servers took.",
        labels: ["proxy_name", "to", "rcode"], bounds: seconds)
    private let rejects = MetricFamily(
        .counter, "coredns_forward_max_concurrent_rejects_total",
        "Questions that were refused because too many were on their way upstream.")
    private let reloadFailures = MetricFamily(
        .counter, "coredns_reload_failed_total", "Changed Corefiles that could not be used.")
    private let panics = MetricFamily(.counter, "coredns_panics_total", "A crash ends this server: always 0.")

    private let server: String
    private var here: [String] { [server, ".", ""] }

    init(port: Int = 53) {
        server = "dns://:\(port)"
        build.set(1, ["", "", "catbird"])
        let cache = [server, ".", ""]
        for family in [cacheRequests, cacheMisses] { family.touch(cache) }
        for kind in ["success", "denial"] { cacheHits.touch([server, kind, ".", ""]) }
    }

    /// A question with its answer.
    func count(_ question: Question?, _ asker: Asker, size: Int, answer: [UInt8], since start: ContinuousClock.Instant)
    {
        let type = question.map { Self.types[$0.type] ?? "other" } ?? "other"
        requests.add(1, here + [asker.transport, asker.isV6 ? "2" : "1", type])
        requestSizes.observe(Double(size), here + [asker.transport])
        responseSizes.observe(Double(answer.count), here + [asker.transport])
        durations.observe(since: start, here)
        guard answer.count > 3 else { return }
        let code = answer[3] & 15
        responses.add(1, here + [Self.codes[code] ?? "\(code)", ""])
    }

    func cacheAnswered(_ code: UInt8?) {
        let cache = [server, ".", ""]
        cacheRequests.add(1, cache)
        guard let code else {
            cacheMisses.add(1, cache)
            return
        }
        cacheHits.add(1, [server, code == 0 ? "success" : "denial", ".", ""])
    }

    func upstreamAnswered(_ address: String, _ code: UInt8?, since start: ContinuousClock.Instant) {
        upstream.observe(since: start, ["forward", address, code.map { Self.codes[$0] ?? "\($0)" } ?? "SERVFAIL"])
    }

    func rejected() { rejects.add() }
    func reloadFailed() { reloadFailures.add() }

    /// In Prometheus' text format, with the figures of the process.
    func exposition(_ settings: Corefile, cached: Int) -> String {
        var text = ""
        for name in settings.plugins { plugins.set(1, here + [name]) }
        cacheEntries.set(Double(cached), [server, "success", ".", ""])
        for family in [
            build, plugins, requests, responses, durations, requestSizes, responseSizes, cacheRequests, cacheHits,
            cacheMisses, cacheEntries, upstream, rejects, reloadFailures, panics,
        ] { family.append(to: &text) }
        ProcessMetrics.shared.append(to: &text)
        return text
    }
}
