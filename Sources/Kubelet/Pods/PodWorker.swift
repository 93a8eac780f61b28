// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import KubeObjects
import Values

/// Carries out what one pod's ``PodMachine`` asks for, and tells it what came of it.
///
/// A round follows each change of the pod, each event of the runtime, each result of a probe, and the end of each step
/// that takes long; those (CNI, volumes, pulls, starts, stops) run beside it. So a round never waits for a plugin or a
/// registry, and whoever asks for a log, a command or the pod's end is answered meanwhile.
actor PodWorker {
    nonisolated let uid: String
    let context: KubeletContext
    var machine: PodMachine
    /// The sandbox that was made or found, with what the machine has no use for.
    var sandbox: Sandbox?
    var volumePaths: [String: String] = [:]
    private var lastConditions: [JSON]?
    /// How containers ended: read once, since the log may be gone later.
    private var ends: [ContainerID: Termination] = [:]
    /// What takes long, by number. Not structured: starts and probes are cancelled one by one, and all that is left ends
    /// with the worker.
    private var errands: [Int: Task<Void, Never>] = [:]
    private var nextErrand = 0
    /// The errands that may have to be cancelled: of starts by the container's name, of probes by name and kind.
    private var starts: [String: Int] = [:]
    private var probes: [ProbeKey: Int] = [:]
    private var storageWatch: Task<Void, Never>?
    private var alarm: (at: Timestamp, task: Task<Void, Never>)?
    private let firstSeen = ContinuousClock.now
    private var hasBegun = false
    /// It was counted how long the pod took until all of it ran, or it ran when it was found.
    private var isCountedAsStarted = false
    private let rounds: AsyncStream<Void>
    private nonisolated let bell: AsyncStream<Void>.Continuation

    private struct ProbeKey: Hashable {
        let name: String
        let kind: ProbeKind
    }

    /// `refusal`: why the node does not take the pod.
    init(_ pod: PodView, context: KubeletContext, refusal: PodRefusal? = nil) {
        self.context = context
        uid = pod.uid
        (rounds, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        machine = PodMachine(
            pod, hostIP: context.configuration.nodeIP.description, refusal: refusal.map { ($0.reason, $0.message) },
            now: .now)
        isCountedAsStarted = pod.phase != "Pending"
        guard let refusal else { return }
        KubeletMetrics.rejections.add(1, [refusal.reason])
        context.events.record(pod.object, type: .warning, reason: refusal.reason, message: refusal.message)
    }

    var pod: PodView { machine.pod }
    var podIPs: [String] { machine.podIPs }

    /// Works until the pod is gone.
    func run() async {
        let references = VolumePayload.references(of: pod)
        if !references.isEmpty {
            await context.objects.register(uid, references) { [weak self] in await self?.tell(.objectsChanged) }
        }
        ring()
        for await _ in rounds {
            await sync()
            if machine.isFinished { break }
        }
        alarm?.task.cancel()
        storageWatch?.cancel()
        for errand in errands.values { errand.cancel() }
        for container in ownContainers() {
            if let path = container.logPath { context.logs.forget(container.id, path) }
        }
        await context.objects.release(uid)
        await context.tokens.forget(pod: uid)
        await context.status.forget(uid)
    }

    /// Asks for a round.
    nonisolated func ring() { bell.yield() }

    func tell(_ event: PodEvent) { if machine.take(event, at: .now) { ring() } }

    /// Takes a new version of the pod.
    func update(_ next: PodView) async {
        await context.status.see(next.object, repairs: !next.isTerminal)
        tell(.updated(next))
    }

    /// The API has no such pod any more.
    func vanish(_ last: PodView) { tell(.vanished(last)) }

    /// The network of the node came or changed.
    func networkChanged() { tell(.networkChanged) }

    // MARK: The round

    private func sync() async {
        let begun = ContinuousClock.now
        let kind = machine.isBeingRemoved ? "kill" : hasBegun ? "sync" : "create"
        if !hasBegun {
            hasBegun = true
            sandbox = ownSandboxes().max { $0.spec.attempt < $1.spec.attempt }
            KubeletMetrics.firstStarts.observe(since: firstSeen)
        }
        defer { KubeletMetrics.rounds.observe(since: begun, [kind]) }
        let actions = machine.round(look())
        setAlarm(machine.deadline)
        for action in actions { await perform(action) }
    }

    private func ownSandboxes() -> [Sandbox] { context.runtime.sandboxes().filter { $0.spec.podUID == uid } }

    private func ownContainers() -> [ContainerStatus] {
        context.runtime.containers().filter { $0.labels[ContainerLabels.podUID] == uid }
    }

    private func look() -> PodSight {
        let network = context.runtime.networkReady()
        var sight = PodSight(
            now: .now, networkTrouble: network.ready ? nil : network.message,
            sandboxes: ownSandboxes().map {
                PodSight.Box(
                    id: $0.spec.id, attempt: $0.spec.attempt, isReady: $0.state == .ready,
                    addresses: $0.ips.map(\.description))
            }, containers: ownContainers())
        var known: [ContainerID: Termination] = [:]
        for status in sight.containers where status.state == .exited {
            known[status.id] = ends[status.id] ?? termination(status)
        }
        ends = known
        sight.ends = known
        return sight
    }

    private func termination(_ status: ContainerStatus) -> Termination {
        let fallsBack = machine.slots[status.name]?.view.fallsBackToLogs ?? false
        return ContainerRecord.termination(
            status, message: TerminationMessage.read(status, fallsBackToLogs: fallsBack), now: .now)
    }

    /// The end of a back-off, a deadline, a token's renewal: times by definition, of which no event tells.
    private func setAlarm(_ moment: Timestamp?) {
        if alarm?.at == moment { return }
        alarm?.task.cancel()
        alarm = moment.map { moment in
            let wait = max(moment.seconds(since: .now), 0)
            // Not structured: the next round may set another.
            let task = Task { [weak self] in
                guard (try? await Task.sleep(for: .seconds(wait))) != nil else { return }
                await self?.alarmRang(moment)
            }
            return (moment, task)
        }
    }

    private func alarmRang(_ moment: Timestamp) {
        if alarm?.at == moment { alarm = nil }
        ring()
    }

    // MARK: Actions

    private func perform(_ action: PodAction) async {
        switch action {
        case .event(let isWarning, let reason, let message, let view):
            event(reason, message, type: isWarning ? .warning : .normal, in: view)
            if reason == "Evicted" { KubeletMetrics.evictions.add(1, ["ephemeralpodfs.limit"]) }
        case .removeFormers(let ids): errand { .formersRemoved(failures: await $0.removeSandboxes(ids)) }
        case .createSandbox(let attempt): errand { await $0.makeSandbox(attempt) }
        case .setUpVolumes: errand { await $0.setUpVolumes() }
        case .start(let view, let number, let attempt, let stale):
            KubeletMetrics.startedContainers.add(1, [view.role.metricType])
            starts[view.name] = errand {
                .startEnded(view.name, number: number, await $0.start(view, number, attempt: attempt, stale: stale))
            }
        case .cancelStart(let name): cancel(starts.removeValue(forKey: name))
        case .stop(let view, let id, let grace, let runsHook):
            errand {
                await $0.stop(view, id, grace: grace, runsHook: runsHook)
                return nil
            }
        case .follow(let id):
            if let path = context.runtime.container(id)?.logPath { context.logs.follow(id, path) }
        case .forget(let name, let id):
            if let path = context.runtime.container(id)?.logPath { context.logs.forget(id, path) }
            for kind in ProbeKind.allCases { cancel(probes.removeValue(forKey: ProbeKey(name: name, kind: kind))) }
        case .probe(let view, let id, let kinds):
            for kind in kinds {
                guard let settings = ProbeSettings(kind, of: view) else { continue }
                let key = ProbeKey(name: view.name, kind: kind)
                cancel(probes[key])
                probes[key] = errand {
                    await $0.ask(kind, settings, view, id)
                    return nil
                }
            }
        case .endProbes(let name, let kinds):
            for kind in kinds { cancel(probes.removeValue(forKey: ProbeKey(name: name, kind: kind))) }
        case .watchStorage(let limits):
            storageWatch = StorageMeter(context: context, limits: limits, pod: pod).watch { [weak self] message in
                await self?.tell(.evicted(message))
            }
        case .publish(let facts): await publish(facts)
        case .release: errand { .released(failure: await $0.release()) }
        case .removeLogs: removeLogs()
        case .delete: errand { .deleted(failure: await $0.deleteFromAPI()) }
        case .finish: ring()
        }
    }

    /// Does what takes long beside the rounds, and tells the machine what came of it.
    @discardableResult
    func errand(_ body: @escaping @Sendable (PodWorker) async -> PodEvent?) -> Int {
        nextErrand += 1
        let number = nextErrand
        errands[number] = Task {
            let event = await body(self)
            self.errands[number] = nil
            if let event { self.tell(event) }
        }
        return number
    }

    private func cancel(_ number: Int?) { if let number { errands[number]?.cancel() } }

    // MARK: Telling

    /// Has the pod's status written, when it changed.
    private func publish(_ facts: PodFacts) async {
        let status = PodStatus.compute(pod, facts, previous: lastConditions, now: .now)
        lastConditions = status["conditions"].array
        if !isCountedAsStarted, status["phase"].string == "Running" {
            isCountedAsStarted = true
            KubeletMetrics.podStarts.observe(since: firstSeen)
        }
        await context.status.set(uid, status: status, known: pod.object)
    }

    func event(
        _ reason: String, _ message: String, type: EventRecorder.EventType = .normal, in view: ContainerView? = nil
    ) {
        context.events.record(pod.object, type: type, reason: reason, message: message, fieldPath: view?.fieldPath)
    }
}
