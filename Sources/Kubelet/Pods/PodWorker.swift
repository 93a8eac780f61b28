// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import KubeObjects
import Values

/// Brings one pod from its spec to the runtime, and its state from the runtime to its status.
///
/// The worker is level-triggered: each round (`sync`) compares what should be with what is and takes the next steps.
/// A round follows each change of the pod, each event of the runtime, each result of a probe, and the end of each step
/// that takes long; those (pulls, starts, stops) run beside it, so that a round is always short.
actor PodWorker {
    /// Why the pod has to go, and how long its containers may take.
    struct Removal {
        var grace: Int
        /// The API has forgotten the pod: there is nothing to report to, and nothing to delete.
        var isGone: Bool
    }

    nonisolated let uid: String
    let context: KubeletContext
    var pod: PodView
    var slots: [String: ContainerSlot] = [:]
    var sandbox: Sandbox?
    var sandboxAttempt = 0
    var podIPs: [String] = []
    var startTime: Timestamp?
    var volumePaths: [String: String]?
    var removal: Removal?
    /// Set when the kubelet ends the pod itself.
    var failure: (reason: String, message: String)?
    /// The pod's resources on the node were given back; its phase is final.
    var isOver = false
    var isReleased = false
    private(set) var isFinished = false
    var setUpFailures = 0
    var setUpRetry: Timestamp?
    var releaseFailures = 0
    var lastConditions: [JSON]?
    var tokenRenewal: Timestamp?
    var renewalTimer: Task<Void, Never>?
    /// Measures what the pod keeps on disk, when that is limited.
    private var storageWatch: Task<Void, Never>?
    private let firstSeen = ContinuousClock.now
    private var startOfRounds: ContinuousClock.Instant?
    /// It was counted how long the pod took until all of it ran, or it ran when it was found.
    private var isCountedAsStarted = false
    /// What volumes show has changed.
    var volumesAreStale = false
    private var complained: Set<String> = []
    private var alarms: [Timestamp: Task<Void, Never>] = [:]
    private let rounds: AsyncStream<Void>
    private nonisolated let bell: AsyncStream<Void>.Continuation

    /// `refusal`: why the node does not take the pod.
    init(_ pod: PodView, context: KubeletContext, refusal: PodRefusal? = nil) {
        self.pod = pod
        self.context = context
        uid = pod.uid
        (rounds, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        startTime = pod.object["status"]["startTime"].string.flatMap { Timestamp($0) } ?? .now
        let waiting = pod.initContainers.isEmpty ? "ContainerCreating" : "PodInitializing"
        for view in pod.allContainers + pod.ephemeralContainers {
            slots[view.name] = ContainerSlot(view: view, record: .restored(view, of: pod, waiting: waiting))
        }
        isOver = pod.isTerminal
        isCountedAsStarted = pod.phase != "Pending"
        if let refusal {
            KubeletMetrics.rejections.add(1, [refusal.reason])
            failure = (refusal.reason, "Pod was rejected: \(refusal.message)")
            context.events.record(pod.object, type: .warning, reason: refusal.reason, message: refusal.message)
        }
        if let deletion = pod.deletionGracePeriod { removal = Removal(grace: deletion, isGone: false) }
    }

    /// Works until the pod is gone.
    func run() async {
        adopt()
        let bell = self.bell
        let references = VolumePayload.references(of: pod)
        if !references.isEmpty {
            await context.objects.register(uid, references) { [weak self] in await self?.objectsChanged() }
        }
        bell.yield()
        for await _ in rounds {
            await sync()
            if isFinished { break }
        }
        for alarm in alarms.values { alarm.cancel() }
        renewalTimer?.cancel()
        storageWatch?.cancel()
        for slot in slots.values {
            if let id = slot.current, let path = context.runtime.container(id)?.logPath {
                context.logs.forget(id, path)
            }
            slot.probes?.cancel()
            slot.starting?.cancel()
            slot.stopping?.cancel()
        }
        await context.objects.release(uid)
        await context.tokens.forget(pod: uid)
        await context.status.forget(uid)
    }

    /// Asks for a round.
    nonisolated func ring() { bell.yield() }

    /// Takes a new version of the pod.
    func update(_ next: PodView) async {
        // A pod that somebody else has ended is over, whatever still runs.
        if next.isTerminal { isOver = true }
        await context.status.see(next.object, repairs: !next.isTerminal)
        let old = pod
        pod = next
        if let grace = next.deletionGracePeriod {
            removal = Removal(grace: min(grace, removal?.grace ?? grace), isGone: removal?.isGone ?? false)
        }
        for view in next.ephemeralContainers where slots[view.name] == nil {
            slots[view.name] = ContainerSlot(
                view: view, record: .restored(view, of: next, waiting: "ContainerCreating"))
        }
        for view in next.allContainers {
            guard var slot = slots[view.name] else { continue }
            if slot.view.image != view.image, slot.record.isRunning, view.role == .regular {
                slot.restartWanted = true
                event("Killing", "Container \(view.name) definition changed, will be restarted", in: view)
                stop(&slot, grace: next.terminationGracePeriod)
            }
            slot.view = view
            slots[view.name] = slot
        }
        let oldMeaning = [old.spec, old.object.metadata["labels"], old.object.metadata["annotations"]]
        let meaning = [next.spec, next.object.metadata["labels"], next.object.metadata["annotations"]]
        if old.object.isBeingDeleted != next.object.isBeingDeleted || oldMeaning != meaning
            || old.deletionGracePeriod != next.deletionGracePeriod || !next.readinessGates.isEmpty
            || old.isTerminal != next.isTerminal
        {
            if meaning != oldMeaning, volumePaths != nil { volumesAreStale = true }
            ring()
        }
    }

    /// The API has no such pod any more.
    func vanish(_ last: PodView) {
        removal = Removal(grace: min(last.deletionGracePeriod ?? 1, removal?.grace ?? .max), isGone: true)
        ring()
    }

    private func objectsChanged() {
        volumesAreStale = true
        // Waiting for an object that was missing is over, perhaps.
        setUpRetry = nil
        for (name, slot) in slots {
            guard case .waiting("CreateContainerConfigError", _) = slot.record.state else { continue }
            slots[name]?.retryAt = nil
            slots[name]?.failedAt = nil
        }
        ring()
    }

    /// The network of the node came or changed: no reason to wait any longer.
    func networkChanged() {
        setUpRetry = nil
        ring()
    }

    /// Finds what an earlier kubelet made for this pod.
    private func adopt() {
        let own = context.runtime.sandboxes().filter { $0.spec.podUID == uid }
        sandboxAttempt = (own.map(\.spec.attempt).max() ?? -1) + 1
        // One that is not ready any more is replaced in the first round, and its containers with it.
        sandbox = own.max { $0.spec.attempt < $1.spec.attempt }
        podIPs = sandbox?.ips.map(\.description) ?? []
    }

    // MARK: The round

    private func sync() async {
        let begun = ContinuousClock.now
        let kind = removal != nil ? "kill" : startOfRounds == nil ? "create" : "sync"
        if startOfRounds == nil {
            startOfRounds = begun
            if kind == "create", !isOver, failure == nil {
                for warning in pod.notActedUpon { event("NotSupported", warning, type: .warning) }
            }
            KubeletMetrics.firstStarts.observe(since: firstSeen)
        }
        defer { KubeletMetrics.rounds.observe(since: begun, [kind]) }
        await round()
    }

    private func round() async {
        if let removal {
            await terminate(grace: removal.grace)
            return
        }
        if isOver || failure != nil {
            await finish()
            return
        }
        observe()
        if let deadline = pod.activeDeadline, let startTime {
            let end = startTime.adding(seconds: Double(deadline))
            if end <= .now {
                failure = (
                    "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
                )
                event("DeadlineExceeded", failure?.message ?? "", type: .normal)
                await finish()
                return
            }
            ring(at: end)
        }
        if let refusal = pod.unsupported {
            refuse(refusal)
            await publish()
            return
        }
        if !hasEnded, await prepare() {
            observe()
            startWhatIsDue()
            watchStorage()
        }
        if hasEnded {
            isOver = true
            ring()
        }
        await publish()
    }

    /// Says at once what cannot be done here, and goes on waiting for another spec.
    private func refuse(_ reason: String) {
        for (name, slot) in slots where !slot.isBusy {
            slots[name]?.record.state = .waiting(reason: "CreateContainerConfigError", message: reason)
        }
        complain("Failed", "Error: \(reason)")
    }

    /// Whether nothing runs and nothing will be started again.
    private var hasEnded: Bool {
        let initSlots = pod.initContainers.compactMap { slots[$0.name] }
        let mainSlots = pod.containers.compactMap { slots[$0.name] }
        guard !(initSlots + mainSlots).contains(where: \.isBusy) else { return false }
        if pod.restartPolicy == .never, initSlots.contains(where: { ($0.record.termination?.exitCode ?? 0) != 0 }) {
            return true
        }
        guard pod.restartPolicy != .always, !mainSlots.isEmpty else { return false }
        return mainSlots.allSatisfy { slot in
            guard let end = slot.record.termination, !slot.restartWanted else { return false }
            return !pod.restartPolicy.restarts(exitCode: end.exitCode)
        }
    }

    /// Reads what the runtime says of the pod's containers.
    func observe() {
        // Those of a sandbox that was lost count no more, even while they cannot be removed.
        let statuses = context.runtime.containers().filter {
            $0.labels[ContainerLabels.podUID] == uid && $0.sandboxID == sandbox?.id
        }
        for (name, var slot) in slots {
            guard let newest = statuses.filter({ $0.name == name }).max(by: { $0.attempt < $1.attempt }) else {
                continue
            }
            slot.current = newest.id
            switch newest.state {
            case .created: break
            case .running: if slot.starting == nil { running(&slot, newest) }
            case .exited: if slot.starting == nil, slot.handledExit != newest.id { exited(&slot, newest) }
            }
            slots[name] = slot
        }
    }

    private func describe(_ slot: inout ContainerSlot, _ status: ContainerStatus) {
        slot.record.containerID = status.id
        slot.record.restartCount = max(slot.record.restartCount, status.attempt)
        slot.record.imageID = status.imageID
        slot.record.image = slot.view.image
        slot.record.user = (status.user.uid, status.user.gid, status.user.supplementalGroups)
    }

    private func running(_ slot: inout ContainerSlot, _ status: ContainerStatus) {
        describe(&slot, status)
        slot.record.state = .running(status.startedAt ?? status.createdAt)
        if slot.probes?.container != status.id {
            slot.probes?.cancel()
            if let path = status.logPath { context.logs.follow(status.id, path) }
            slot.probes = ContainerProbes(
                container: status.id, view: slot.view, startedAt: status.startedAt ?? .now)
            if slot.view.role == .regular, removal == nil {
                startProbes(of: slot.view, container: status.id, in: &slot)
            }
        }
        slot.record.hasStarted = slot.probes?.hasStarted ?? true
        slot.record.isReady = slot.view.role == .regular && slot.probes?.isReady ?? true
    }

    private func exited(_ slot: inout ContainerSlot, _ status: ContainerStatus) {
        describe(&slot, status)
        slot.handledExit = status.id
        if let path = status.logPath { context.logs.forget(status.id, path) }
        slot.probes?.cancel()
        slot.probes = nil
        slot.stopping = nil
        slot.stopGrace = nil
        if case .terminated(let old) = slot.record.state, old.containerID != status.id { slot.record.last = old }
        let message = TerminationMessage.read(status, fallsBackToLogs: slot.view.fallsBackToLogs)
        let end = ContainerRecord.termination(status, message: message)
        slot.record.state = .terminated(end)
        slot.record.hasStarted = false
        // An init container that succeeded is ready for ever.
        slot.record.isReady = slot.view.role == .initial && end.exitCode == 0
        slot.failedAt = end.finishedAt
        slot.retryAt = nil
    }

    private func watchStorage() {
        let limits = StorageLimits(of: pod)
        guard storageWatch == nil, !limits.isEmpty else { return }
        storageWatch = StorageMeter(context: context, limits: limits, pod: pod).watch { [weak self] message in
            await self?.evict(message)
        }
    }

    /// The node has had enough of the pod.
    private func evict(_ message: String) {
        guard failure == nil, !isOver, removal == nil else { return }
        failure = ("Evicted", message)
        KubeletMetrics.evictions.add(1, ["ephemeralpodfs.limit"])
        event("Evicted", message, type: .warning)
        ring()
    }

    // MARK: Telling

    /// Has the pod's status written, when it changed.
    func publish() async {
        guard removal?.isGone != true else { return }
        var facts = PodFacts(
            containers: pod.containers.compactMap { slots[$0.name]?.record },
            initContainers: pod.initContainers.compactMap { slots[$0.name]?.record },
            hostIP: context.configuration.nodeIP.description)
        facts.ephemeralContainers = pod.ephemeralContainers.compactMap { slots[$0.name]?.record }
        facts.podIPs = podIPs
        facts.startTime = startTime
        facts.sandboxIsReady = sandbox != nil
        facts.failure = failure
        facts.isOver = isOver
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

    /// Records a warning once until `calm` says that its cause is over.
    func complain(_ reason: String, _ message: String) {
        if complained.insert(reason + message).inserted { event(reason, message, type: .warning) }
    }

    func calm() { complained.removeAll() }

    /// Asks for a round at a moment to come: the end of a back-off, a deadline, a token's renewal. Those are times by
    /// definition, and no event will tell of them.
    func ring(at moment: Timestamp) {
        guard alarms[moment] == nil else { return }
        let wait = max(moment.seconds(since: .now), 0)
        alarms[moment] = Task { [weak self] in
            try? await Task.sleep(for: .seconds(wait))
            if !Task.isCancelled { await self?.alarm(moment) }
        }
    }

    private func alarm(_ moment: Timestamp) {
        alarms[moment] = nil
        ring()
    }

    func end() {
        isFinished = true
        ring()
    }
}
