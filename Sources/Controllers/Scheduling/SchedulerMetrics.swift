// SPDX-License-Identifier: Apache-2.0

import KubeClient

/// What the scheduler tells of itself, under the names that upstream's has.
struct SchedulerMetrics: Sendable {
    private static let profile = "default-scheduler"

    private let attempts: MetricFamily
    private let attemptSeconds: MetricFamily
    private let algorithmSeconds: MetricFamily
    private let bindingSeconds: MetricFamily
    private let podSeconds: MetricFamily
    private let pending: MetricFamily
    private let preemptions: MetricFamily
    private let victims: MetricFamily
    /// Of earlier versions, which dashboards still ask for.
    private let endToEndSeconds: MetricFamily

    init() {
        func histogram(_ name: String, _ help: String, _ labels: [String] = []) -> MetricFamily {
            ProcessMetrics.shared.family(
                .histogram, "scheduler_\(name)", help, labels: labels, bounds: MetricFamily.decisionSeconds)
        }
        attempts = ProcessMetrics.shared.family(
            .counter, "scheduler_schedule_attempts_total", "Attempts to find a node, by what came of them.",
            labels: ["profile", "result"])
        attemptSeconds = histogram(
            "scheduling_attempt_duration_seconds", "How long an attempt takes, with its binding.",
            ["profile", "result"])
        algorithmSeconds = histogram("scheduling_algorithm_duration_seconds", "How long it takes to choose a node.")
        bindingSeconds = histogram("binding_duration_seconds", "How long the API server takes to bind a pod.")
        podSeconds = histogram(
            "pod_scheduling_sli_duration_seconds", "From when a pod was first seen to when it was bound.", ["attempts"])
        endToEndSeconds = histogram(
            "e2e_scheduling_duration_seconds", "How long an attempt takes, with its binding.", ["profile", "result"])
        pending = ProcessMetrics.shared.family(
            .gauge, "scheduler_pending_pods", "Pods without a node.", labels: ["queue"])
        preemptions = ProcessMetrics.shared.family(
            .counter, "scheduler_preemption_attempts_total", "Times that pods had to go for another.")
        victims = ProcessMetrics.shared.family(
            .histogram, "scheduler_preemption_victims", "Pods that had to go at a time.",
            bounds: [1, 2, 4, 8, 16, 32, 64])
        for result in ["error", "scheduled", "unschedulable"] {
            attempts.touch([Self.profile, result])
            for family in [attemptSeconds, endToEndSeconds] { family.touch([Self.profile, result]) }
        }
        podSeconds.touch(["1"])
        for queue in ["active", "backoff", "gated", "unschedulable"] { pending.touch([queue]) }
    }

    func decided(since start: ContinuousClock.Instant) { algorithmSeconds.observe(since: start) }

    func ended(_ result: String, since start: ContinuousClock.Instant) {
        attempts.add(1, [Self.profile, result])
        attemptSeconds.observe(since: start, [Self.profile, result])
        endToEndSeconds.observe(since: start, [Self.profile, result])
    }

    /// - Parameter age: seconds since the pod was made.
    func bound(since start: ContinuousClock.Instant, age: Double) {
        bindingSeconds.observe(since: start)
        podSeconds.observe(max(0, age), ["1"])
    }

    func preempted(_ count: Int) {
        preemptions.add()
        victims.observe(Double(count))
    }

    func waiting(_ active: Int, unschedulable: Int) {
        pending.set(Double(active), ["active"])
        pending.set(Double(unschedulable), ["unschedulable"])
    }
}
