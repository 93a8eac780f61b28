// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import Synchronization
import Values

/// Finds a node for every pod that has none.
///
/// Decisions are made one after the other, in memory, each knowing those before it; bindings are sent in parallel,
/// because a chosen pod counts on its node at once. Pods that fit nowhere are tried again when something changes that
/// could help them, never by the clock.
final class Scheduler: Controller {
    private let context: ControllerContext
    private let events: EventRecorder
    private let metrics = SchedulerMetrics()
    private let state = Mutex(SchedulingState())
    private let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation
    /// Bindings that failed, tried again with back-off.
    private let failed = WorkQueue<ObjectKey>("scheduler_bindings")

    init(_ context: ControllerContext) {
        self.context = context
        events = context.events(from: "default-scheduler")
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func register() {
        let caches = context.caches
        caches.pods.onChange { [self] change in
            let hasWork = state.withLock { state in
                change.new.map { state.podChanged($0) } ?? state.podLeft(change.object)
            }
            if hasWork { waker.yield() }
        }
        caches.nodes.onChange { [self] change in
            let hasWork = state.withLock { state in
                guard let node = change.new else {
                    state.nodeLeft(change.object.name)
                    return false
                }
                return state.nodeChanged(node)
            }
            if hasWork { waker.yield() }
        }
        caches.namespaces.onChange { [self] change in
            let hasWork = state.withLock { state in
                state.namespaceChanged(change.object.name, labels: change.new?.labels)
            }
            if hasWork { waker.yield() }
        }
    }

    func run() async {
        waker.yield()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.decide() }
            group.addTask {
                await self.failed.run(workers: 1) { key in
                    guard let pod = self.context.caches.pods[key] else { return }
                    self.state.withLock { $0.tryAgain(pod) }
                    self.waker.yield()
                }
            }
        }
    }

    private func decide() async {
        await withDiscardingTaskGroup { group in
            for await _ in wake {
                while true {
                    let start = ContinuousClock.now
                    guard let decision = state.withLock({ $0.next() }) else { break }
                    metrics.decided(since: start)
                    group.addTask {
                        switch decision {
                        case .bind(let pod, let node): await self.bind(pod, to: node, since: start)
                        case .reject(let pod, let message):
                            self.metrics.ended("unschedulable", since: start)
                            await self.report(pod, message)
                        case .preempt(let pod, let preemption, let message):
                            self.metrics.ended("unschedulable", since: start)
                            self.metrics.preempted(preemption.victims.count)
                            await self.report(pod, message, nominating: preemption.node)
                            await self.preempt(pod, preemption)
                        }
                    }
                }
                let (active, unschedulable) = state.withLock { ($0.waitingCount, $0.unschedulable.count) }
                metrics.waiting(active, unschedulable: unschedulable)
            }
        }
    }

    private func bind(_ pod: PodInfo, to node: String, since start: ContinuousClock.Instant) async {
        let name = pod.pod.name
        let asked = ContinuousClock.now
        do {
            try await context.client.create(
                .pods, name: name, in: pod.namespace, subresource: "binding",
                [
                    "apiVersion": "v1", "kind": "Binding",
                    "metadata": ["name": JSON(name), "namespace": JSON(pod.namespace), "uid": JSON(pod.uid)],
                    "target": ["apiVersion": "v1", "kind": "Node", "name": JSON(node)],
                ])
            failed.forget(pod.pod.key)
            metrics.ended("scheduled", since: start)
            metrics.bound(since: asked, age: pod.pod.creationTimestamp.map { Timestamp.now.seconds(since: $0) } ?? 0)
            events.record(
                pod.pod, type: .normal, reason: "Scheduled",
                message: "Successfully assigned \(pod.namespace)/\(name) to \(node)")
        } catch {
            state.withLock { $0.forget(pod) }
            metrics.ended("error", since: start)
            if let error = error as? APIError, error.isNotFound { return }
            events.record(
                pod.pod, type: .warning, reason: "FailedScheduling",
                message: "binding rejected: \((error as? APIError)?.message ?? "\(error)")")
            failed.addRateLimited(pod.pod.key)
        }
    }

    private func preempt(_ pod: PodInfo, _ preemption: Preemption) async {
        for victim in preemption.victims where !victim.pod.isBeingDeleted {
            var updated = context.caches.pods[victim.pod.key] ?? victim.pod
            guard updated.uid == victim.uid else { continue }
            var conditions = updated["status"]["conditions"]
            conditions.setCondition(
                Condition(
                    "DisruptionTarget", true, "PreemptionByScheduler",
                    "default-scheduler: preempting to accommodate a higher priority pod"), now: .now)
            updated["status"]["conditions"] = conditions
            do {
                updated = try await context.caches.pods.update(updated, subresource: "status")
                try await context.caches.pods.delete(updated)
                events.record(
                    victim.pod, type: .normal, reason: "Preempted",
                    message: "Preempted by pod \(pod.uid) on node \(preemption.node)")
            } catch {
                // Without its victim gone the pod finds itself rejected again, and chooses anew.
                context.log.debug("preempting \(victim.pod.key): \(error)")
                failed.addRateLimited(pod.pod.key)
            }
        }
    }

    private func report(_ pod: PodInfo, _ message: String, nominating node: String? = nil) async {
        events.record(pod.pod, type: .warning, reason: "FailedScheduling", message: message)
        var conditions = pod.pod["status"]["conditions"]
        conditions.setCondition(Condition("PodScheduled", false, "Unschedulable", message), now: .now)
        guard node != nil || conditions != pod.pod["status"]["conditions"],
            let entry = conditions.condition("PodScheduled")
        else { return }
        var status: JSON = ["conditions": [entry]]
        if let node { status["nominatedNodeName"] = JSON(node) }
        do {
            try await context.caches.pods.patch(
                pod.pod, ["status": status], type: .strategic, subresource: "status")
        } catch {
            context.log.debug("PodScheduled of \(pod.pod.key): \(error)")
        }
    }
}
