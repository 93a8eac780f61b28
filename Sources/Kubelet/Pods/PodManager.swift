// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import KubeObjects
import Logging
import Synchronization
import Values

/// The pods of this node: one worker each, from the first sight of a pod until nothing of it is left.
final class PodManager: Sendable {
    private struct State {
        var workers: [String: PodWorker] = [:]
        var tasks: [String: Task<Void, Never>] = [:]
        /// By uid: what the API says of those that have a worker.
        var pods: [String: KubeObject] = [:]
        /// By name: the uids of those that the API knows now. One that was deleted by force may still be ending here
        /// while another has its name already.
        var names: [ObjectKey: String] = [:]
        var load = NodeLoad()
    }

    private let context: KubeletContext
    let informer: Informer
    private let state = Mutex(State())
    private let orphans: OrphanCollector
    /// The network may be another since the sandboxes were connected.
    private let networkChanges: AsyncStream<Void>
    private let networkChange: AsyncStream<Void>.Continuation

    init(context: KubeletContext) {
        self.context = context
        informer = Informer(
            context.client, .pods, fieldSelector: "spec.nodeName=\(context.configuration.nodeName)")
        orphans = OrphanCollector(context: context)
        (networkChanges, networkChange) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Follows the API and the runtime until cancelled.
    func run() async {
        // Listened to before any worker looks: no end of a container is missed.
        let events = context.runtime.events()
        await withDiscardingTaskGroup { group in
            group.addTask { await self.informer.run() }
            group.addTask { await self.follow(events) }
            group.addTask { for await _ in self.networkChanges { await self.checkNetworks() } }
            group.addTask {
                await self.informer.waitUntilSynced()
                await self.orphans.run { self.known() }
            }
            for await batch in informer.events() {
                for event in Self.inOrderOfAdmission(batch) {
                    switch event {
                    case .added(let pod): await see(pod)
                    case .updated(let old, let new):
                        // A pod that was deleted and made again between two looks.
                        if old.uid != new.uid { await lose(old) }
                        await see(new)
                    case .deleted(let pod): await lose(pod)
                    }
                }
            }
        }
        // Workers end with the kubelet; containers go on without it.
        let tasks = state.withLock { Array($0.tasks.values) }
        for task in tasks { task.cancel() }
    }

    /// Pods that have been started here come first, then the oldest: when a kubelet starts, no pod takes the place of
    /// one that runs.
    private static func inOrderOfAdmission(_ batch: [InformerEvent]) -> [InformerEvent] {
        guard batch.count > 1 else { return batch }
        func rank(_ event: InformerEvent) -> (Int, Timestamp) {
            guard case .added(let pod) = event else { return (0, Timestamp(seconds: 0)) }
            return (
                pod["status"]["startTime"] == nil ? 2 : 1, pod.creationTimestamp ?? Timestamp(seconds: 0)
            )
        }
        return batch.sorted { rank($0) < rank($1) }
    }

    /// The pods that the API knows, by their names.
    var pods: [KubeObject] { state.withLock { state in state.names.values.compactMap { state.pods[$0] } } }

    /// Those too that were deleted by force and are still ending here.
    var allPods: [KubeObject] { state.withLock { Array($0.pods.values) } }

    /// The worker of the pod that has this name now, or of the pod with this uid.
    func worker(namespace: String, name: String, uid: String? = nil) -> (PodWorker, PodView)? {
        let key = ObjectKey(namespace, name)
        return state.withLock { state in
            guard let uid = uid ?? state.names[key], let pod = state.pods[uid], pod.key == key,
                let worker = state.workers[uid]
            else { return nil }
            return (worker, PodView(pod))
        }
    }

    private func see(_ pod: KubeObject) async {
        let allocatable = context.allocatable
        let existing = state.withLock { state -> PodWorker? in
            let view = PodView(pod)
            state.pods[pod.uid] = pod
            state.names[pod.key] = pod.uid
            if view.isTerminal { state.load.release(pod.uid) }
            if let worker = state.workers[pod.uid] { return worker }
            let refusal = view.isTerminal ? nil : state.load.admit(view, allocatable: allocatable)
            let worker = PodWorker(view, context: context, refusal: refusal)
            state.workers[pod.uid] = worker
            // Not structured: the API's events start it under the lock; all are cancelled when the kubelet ends.
            state.tasks[pod.uid] = Task { [weak self] in
                await worker.run()
                self?.forget(pod.uid)
            }
            return nil
        }
        await existing?.update(PodView(pod))
    }

    private func lose(_ pod: KubeObject) async {
        let worker = state.withLock { state in
            if state.names[pod.key] == pod.uid { state.names[pod.key] = nil }
            state.load.release(pod.uid)
            return state.workers[pod.uid]
        }
        await worker?.vanish(PodView(pod))
        // Its worker may have been done before the API was.
        if worker == nil { orphans.look(after: PodView(pod)) }
    }

    private func forget(_ uid: String) {
        let pod = state.withLock { state -> KubeObject? in
            state.workers[uid] = nil
            state.tasks[uid] = nil
            guard let pod = state.pods.removeValue(forKey: uid) else { return nil }
            if state.names[pod.key] == uid { state.names[pod.key] = nil }
            state.load.release(uid)
            return pod
        }
        if let pod { orphans.look(after: PodView(pod)) }
    }

    /// Tells whether a pod may have something here: the API says so, or its worker is not done. What the API says is
    /// that of now; whoever comes later has a worker before it has anything here.
    private func known() -> @Sendable (String) -> Bool {
        let uids = Set(informer.all().map(\.uid))
        return { uid in uids.contains(uid) || self.state.withLock { $0.workers[uid] != nil } }
    }

    /// Has the network's agent look at the sandboxes that are there. One that was started anew learns of them by this,
    /// and puts right itself what it finds wrong.
    private func checkNetworks() async {
        for sandbox in context.runtime.sandboxes() where sandbox.state == .ready && !sandbox.spec.hostNetwork {
            do { try await context.runtime.checkNetwork(sandbox.id) } catch {
                context.log.notice(
                    "the network of pod \(sandbox.spec.podNamespace)/\(sandbox.spec.podName): \(error)")
            }
        }
    }

    private func follow(_ events: AsyncStream<RuntimeEvent>) async {
        for await event in events {
            switch event {
            case .exited(let id):
                let uid = context.runtime.container(id)?.labels[ContainerLabels.podUID]
                let workers = state.withLock { state in
                    uid.map { state.workers[$0].map { [$0] } ?? [] } ?? Array(state.workers.values)
                }
                for worker in workers { worker.ring() }
            case .networkChanged:
                orphans.look()
                networkChange.yield()
                let workers = state.withLock { Array($0.workers.values) }
                for worker in workers { await worker.networkChanged() }
            }
        }
    }
}
