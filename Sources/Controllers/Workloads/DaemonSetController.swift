// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Synchronization
import Values

/// Keeps one pod of each DaemonSet on every node that is eligible.
struct DaemonSetController: Controller {
    static let hashLabel = "controller-revision-hash"

    let context: ControllerContext
    let queue = WorkQueue<ObjectKey>("daemonset")
    private let control: PodControl
    private let events: EventRecorder
    private let failures = Failures()

    /// How often the pods of a DaemonSet failed on a node: the next one is given ever more time.
    private final class Failures: Sendable {
        private let entries = Mutex<[String: (delay: Duration, until: ContinuousClock.Instant)]>([:])

        /// How long the failed pod stays before it is replaced; zero: it goes now.
        func wait(_ set: KubeObject, _ node: String) -> Duration {
            entries.withLock { entries in
                let key = "\(set.uid)/\(node)"
                let now = ContinuousClock.Instant.now
                guard let entry = entries[key] else {
                    entries[key] = (.seconds(1), now + .seconds(1))
                    return .zero
                }
                if now < entry.until { return entry.until - now }
                // Quiet for long enough: as if nothing had happened.
                let delay = now - entry.until > .seconds(1800) ? .seconds(1) : min(entry.delay * 2, .seconds(900))
                entries[key] = (delay, now + delay)
                return .zero
            }
        }

        func forget(_ set: KubeObject) {
            entries.withLock { entries in
                entries = entries.filter { !$0.key.hasPrefix("\(set.uid)/") }
            }
        }
    }

    init(_ context: ControllerContext) {
        self.context = context
        events = context.events(from: "daemonset-controller")
        control = PodControl(pods: context.caches.pods, events: events)
    }

    func register() {
        let queue = queue
        let caches = context.caches
        let failures = failures
        caches.daemonSets.onChange { change in
            if change.new == nil { failures.forget(change.object) }
            queue.add(change.object.key)
        }
        caches.pods.onChange { change in
            for pod in [change.old, change.new].compactMap({ $0 }) {
                if let owner = pod.controller {
                    if owner.kind == "DaemonSet" { queue.add(ObjectKey(pod.namespace, owner.name)) }
                } else {
                    for candidate in caches.daemonSets.inNamespace(pod.namespace)
                    where candidate.labelSelector?.matches(pod.labels) ?? false { queue.add(candidate.key) }
                }
            }
        }
        caches.nodes.onChange { change in
            if let old = change.old, let new = change.new, old.labels == new.labels, old.taints == new.taints,
                old["spec"]["unschedulable"] == new["spec"]["unschedulable"]
            {
                return
            }
            for set in caches.daemonSets.all { queue.add(set.key) }
        }
        caches.controllerRevisions.onChange { change in
            if let owner = change.object.controller, owner.kind == "DaemonSet" {
                queue.add(ObjectKey(change.object.namespace, owner.name))
            }
        }
    }

    func run() async { await queue.run(workers: 2) { key in try await reconcile(key) } }

    private func reconcile(_ key: ObjectKey) async throws {
        let caches = context.caches
        guard let set = caches.daemonSets[key], let selector = set.labelSelector else { return }
        if selector.isEmpty {
            events.record(
                set, type: .warning, reason: "SelectingAll",
                message: "This daemon set is selecting all pods. A non-empty selector is required.")
            return
        }
        do {
            let claim = Claim(cache: caches.pods, owner: set, selector: selector) {
                try await caches.daemonSets.fresh(key)
            }
            let pods = try await claim.claim()
            let hash = set.isBeingDeleted ? "" : try await currentRevision(of: set)
            let plan = DaemonSetPlan(set: set, nodes: caches.nodes.all, pods: pods, hash: hash, now: .now)
            // What there is is told also when more cannot be had.
            let failure = await Self.failure { try await apply(plan, set, hash) }
            try await writeStatus(plan.status, set)
            if let failure { throw failure }
        } catch let error as APIError where error.isNamespaceTerminating {
            return
        }
    }

    private static func failure(_ body: () async throws -> Void) async -> (any Error)? {
        do {
            try await body()
            return nil
        } catch {
            return error
        }
    }

    private func apply(_ plan: DaemonSetPlan, _ set: KubeObject, _ hash: String) async throws {
        var failed: [KubeObject] = []
        for pod in plan.failed {
            let delay = failures.wait(set, pod.nodeName ?? "")
            guard delay == .zero else {
                queue.addAfter(set.key, delay)
                continue
            }
            failed.append(pod)
            events.record(
                set, type: .warning, reason: "FailedDaemonPod",
                message:
                    "Found failed daemon pod \(pod.key) on node \(pod.nodeName ?? ""), will try to kill it")
        }
        for pod in plan.finished {
            events.record(
                set, type: .normal, reason: "SucceededDaemonPod",
                message: "Found succeeded daemon pod \(pod.key) on node \(pod.nodeName ?? ""), will try to delete it")
        }
        try await control.delete(plan.delete + failed + plan.finished, for: set)
        let nodes = plan.create
        try await control.create(nodes.count, for: set) { DaemonSetPlan.pod(of: set, node: nodes[$0], hash: hash) }
    }

    private func writeStatus(_ counts: DaemonSetPlan.Status, _ set: KubeObject) async throws {
        var status: JSON = [
            "currentNumberScheduled": JSON(counts.current), "numberMisscheduled": JSON(counts.misscheduled),
            "desiredNumberScheduled": JSON(counts.desired), "numberReady": JSON(counts.ready),
            "observedGeneration": JSON(set.generation),
        ]
        let optional = [
            ("updatedNumberScheduled", counts.updated), ("numberAvailable", counts.available),
            ("numberUnavailable", counts.desired - counts.available),
        ]
        for (member, count) in optional where count > 0 { status[member] = JSON(count) }
        for kept in ["collisionCount", "conditions"] {
            if let value = set["status"][kept] { status[kept] = value }
        }
        if counts.available < counts.ready {
            queue.addAfter(set.key, .seconds(set["spec"]["minReadySeconds"].int ?? 1))
        }
        guard status != set["status"] ?? .object([:]) else { return }
        var updated = set
        updated["status"] = status
        do {
            try await context.caches.daemonSets.update(updated, subresource: "status")
        } catch let error as APIError where error.isStale {
            queue.addRateLimited(set.key)
        }
    }

    // MARK: - History

    /// The hash of the present template, written down as a ControllerRevision so that `rollout undo` can go back.
    private func currentRevision(of set: KubeObject) async throws -> String {
        let revisions = context.caches.controllerRevisions
        var template = set["spec"]["template"] ?? .object([:])
        template["$patch"] = "replace"
        // Clients compare it byte by byte, with members as Go writes those of a map.
        let data = (["spec": ["template": template]] as JSON).withSortedKeys
        let known = revisions.owned(by: set.uid).filter { !$0.isBeingDeleted }
        let highest = known.map { $0["revision"].int ?? 0 }.max() ?? 0
        let hash: String
        if var current = known.first(where: { $0["data"] == data }) {
            hash = current.labels[Self.hashLabel] ?? TemplateHash.name(of: template)
            if current["revision"].int ?? 0 < highest {
                current["revision"] = JSON(highest + 1)
                try await revisions.update(current)
            }
        } else {
            let collisions = set["status"]["collisionCount"].int ?? 0
            hash = TemplateHash.name(of: template, collisions: collisions)
            var revision = KubeObject(
                .controllerRevisions, kind: "ControllerRevision", name: "\(set.name)-\(hash)", namespace: set.namespace)
            var labels = set["spec"]["template"]["metadata"]["labels"].object?.strings ?? [:]
            labels[Self.hashLabel] = hash
            revision.metadata["labels"] = JSON(labels)
            var annotations = set.annotations
            annotations["kubectl.kubernetes.io/last-applied-configuration"] = nil
            if !annotations.isEmpty { revision.metadata["annotations"] = JSON(annotations) }
            revision.metadata["ownerReferences"] = [OwnerReference(controller: set).json]
            revision["data"] = data
            revision["revision"] = JSON(highest + 1)
            do {
                try await revisions.create(revision)
            } catch let error as APIError where error.isAlreadyExists {
                let existing = try await revisions.fresh(revision.key)
                if existing["data"] != data {
                    var updated = set
                    updated["status"]["collisionCount"] = JSON(collisions + 1)
                    try await context.caches.daemonSets.update(updated, subresource: "status")
                    throw error
                }
                revisions.wrote(existing)
            }
        }
        try await trim(known, set, keeping: hash)
        return hash
    }

    private func trim(_ known: [KubeObject], _ set: KubeObject, keeping hash: String) async throws {
        guard let limit = set["spec"]["revisionHistoryLimit"].int else { return }
        let pods = context.caches.pods.owned(by: set.uid)
        let live = Set(pods.compactMap { $0.labels[Self.hashLabel] } + [hash])
        let old = known.filter { !live.contains($0.labels[Self.hashLabel] ?? "") }
        guard old.count > limit else { return }
        let doomed = old.sorted { ($0["revision"].int ?? 0) < ($1["revision"].int ?? 0) }.prefix(old.count - limit)
        for revision in doomed { try await context.caches.controllerRevisions.delete(revision) }
    }
}
