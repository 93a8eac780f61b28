// SPDX-License-Identifier: Apache-2.0

/// What work queues tell of themselves, under the names that upstream's have.
struct WorkQueueMetrics: Sendable {
    private static let adds = ProcessMetrics.shared.family(
        .counter, "workqueue_adds_total", "Keys that were added.", labels: ["name"])
    private static let retries = ProcessMetrics.shared.family(
        .counter, "workqueue_retries_total", "Keys that are tried again after a delay.", labels: ["name"])
    private static let depth = ProcessMetrics.shared.family(
        .gauge, "workqueue_depth", "Keys that wait.", labels: ["name"])
    private static let waiting = ProcessMetrics.shared.family(
        .histogram, "workqueue_queue_duration_seconds", "How long keys wait until they are worked on.",
        labels: ["name"], bounds: MetricFamily.workSeconds)
    private static let working = ProcessMetrics.shared.family(
        .histogram, "workqueue_work_duration_seconds", "How long keys are worked on.", labels: ["name"],
        bounds: MetricFamily.workSeconds)

    private let labels: [String]

    init(name: String) {
        labels = [name]
        for family in [Self.adds, Self.retries, Self.depth, Self.waiting, Self.working] { family.touch(labels) }
    }

    func added() { Self.adds.add(1, labels) }
    func retried() { Self.retries.add(1, labels) }
    func isDeep(_ count: Int) { Self.depth.set(Double(count), labels) }
    func taken(addedAt: ContinuousClock.Instant) { Self.waiting.observe(since: addedAt, labels) }
    func done(since start: ContinuousClock.Instant) { Self.working.observe(since: start, labels) }
}
