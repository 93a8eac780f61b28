// SPDX-License-Identifier: Apache-2.0

package import ContainerRuntime
import KubeObjects
package import Values

/// Decides what becomes of one pod on the node: a state, events and what is seen of the runtime in; actions and the next
/// deadline out. It does nothing itself, waits for nothing and reads no clock.
///
/// It is level-triggered: each round compares what should be with what is seen and asks for the next steps. What takes
/// long is under way beside it, at most once at a time, and its end is an event.
package struct PodMachine: Sendable {
    /// Why the pod has to go, and how long its containers may take.
    struct Removal: Sendable {
        var grace: Int
        /// The API has forgotten the pod: there is nothing to report to, and nothing to delete.
        var isGone: Bool
    }

    /// What is under way and ends in an event.
    enum Errand: Hashable, Sendable { case formers, sandbox, volumes, release, deletion }

    /// Tries that failed, and when the next is due. What fails so tells nobody when it would not.
    struct Retry: Sendable {
        private(set) var failures = 0
        var at: Timestamp?

        /// The first tries follow closely: an agent that is being started needs some milliseconds.
        mutating func fail(_ now: Timestamp) {
            failures += 1
            at = now.adding(seconds: min(0.25 * Double(1 << min(failures, 8)), 30))
        }
        mutating func succeed() { self = Retry() }
        func waits(_ now: Timestamp) -> Timestamp? { at.flatMap { $0 > now ? $0 : nil } }
    }

    package let uid: String
    package internal(set) var pod: PodView
    var slots: [String: ContainerSlot] = [:]
    /// The sandbox that the pod's containers are in.
    package internal(set) var sandbox: String?
    package internal(set) var podIPs: [String] = []
    var sandboxAttempt = 0
    var hasAdopted = false
    /// Former sandboxes were asked to go before the next one is made.
    var triedFormers = false
    var errands: Set<Errand> = []
    var setUp = Retry()
    var formers = Retry()
    var releasing = Retry()
    var deleting = Retry()
    var hasVolumes = false
    /// What volumes show has changed.
    var volumesAreStale = false
    var tokenRenewal: Timestamp?
    let startTime: Timestamp
    var going: Removal?
    /// Set when the kubelet ends the pod itself.
    var failure: (reason: String, message: String)?
    /// Nothing runs any more and nothing will: the phase is final.
    package internal(set) var isOver: Bool
    /// The pod's resources on the node were given back.
    package internal(set) var isReleased = false
    package internal(set) var isFinished = false
    var measuresStorage = false
    /// When the pod's network and volumes were first asked for.
    private var begun: Timestamp?
    var starts = 0
    var complained: Set<String> = []
    var outbox: [PodAction] = []
    let hostIP: String
    /// When the next round is due, if no event comes before; set by ``round(_:)``.
    package private(set) var deadline: Timestamp?

    /// - Parameter refusal: why the node does not take the pod.
    package init(_ pod: PodView, hostIP: String, refusal: (reason: String, message: String)? = nil, now: Timestamp) {
        self.pod = pod
        self.hostIP = hostIP
        uid = pod.uid
        startTime = pod.object["status"]["startTime"].string.flatMap { Timestamp($0) } ?? now
        isOver = pod.isTerminal
        let waiting = pod.initContainers.isEmpty ? "ContainerCreating" : "PodInitializing"
        for view in pod.allContainers + pod.ephemeralContainers {
            slots[view.name] = ContainerSlot(view: view, record: .restored(view, of: pod, waiting: waiting))
        }
        if let refusal { failure = (refusal.reason, "Pod was rejected: \(refusal.message)") }
        if let grace = pod.deletionGracePeriod { going = Removal(grace: grace, isGone: false) }
        if !isOver, going == nil, failure == nil {
            for warning in pod.notActedUpon { tell("NotSupported", warning, isWarning: true) }
        }
    }

    // MARK: Asking

    package var records: [String: ContainerRecord] { slots.mapValues(\.record) }
    package var isBeingRemoved: Bool { going != nil }
    /// The API knows the pod no more.
    package var isGone: Bool { going?.isGone ?? false }

    package func runningContainer(_ name: String) -> ContainerID? {
        guard let slot = slots[name], slot.record.isRunning else { return nil }
        return slot.current
    }

    // MARK: The round

    /// What is to be done now.
    package mutating func round(_ sight: PodSight) -> [PodAction] {
        deadline = nil
        adopt(sight)
        decide(sight)
        defer { outbox = [] }
        return outbox
    }

    private mutating func decide(_ sight: PodSight) {
        let now = sight.now
        if isFinished { return }
        if let removal = going {
            terminate(removal, sight)
            return
        }
        if isOver || failure != nil {
            end(sight)
            return
        }
        observe(sight)
        if let limit = pod.activeDeadline {
            let end = startTime.adding(seconds: Double(limit))
            guard end > now else {
                let message = "Pod was active on the node longer than the specified deadline"
                failure = ("DeadlineExceeded", message)
                tell("DeadlineExceeded", message)
                self.end(sight)
                return
            }
            wake(at: end)
        }
        if let refusal = pod.unsupported {
            refuse(refusal)
            publish()
            return
        }
        if !hasEnded, prepare(sight) {
            observe(sight)
            startWhatIsDue(sight)
            let limits = StorageLimits(of: pod)
            if !measuresStorage, !limits.isEmpty {
                measuresStorage = true
                outbox.append(.watchStorage(limits))
            }
        }
        if hasEnded {
            isOver = true
            end(sight)
            return
        }
        if !isBeginning(now) { publish() }
    }

    /// Whether a new pod's network and volumes are being made, and have been for less than a second: most pods are past
    /// that before anybody has read it, and each word to the API is a revision that everybody is told of.
    private mutating func isBeginning(_ now: Timestamp) -> Bool {
        let isNew = slots.values.allSatisfy { slot in
            guard case .waiting = slot.record.state else { return false }
            return slot.record.last == nil && slot.record.containerID == nil
        }
        guard isNew, setUp.failures == 0, !errands.isDisjoint(with: [.formers, .sandbox, .volumes]) else {
            return false
        }
        let since = begun ?? now
        begun = since
        let due = since.adding(seconds: 1)
        guard due > now else { return false }
        wake(at: due)
        return true
    }

    /// Finds what an earlier kubelet made for this pod.
    private mutating func adopt(_ sight: PodSight) {
        guard !hasAdopted else { return }
        hasAdopted = true
        sandboxAttempt = (sight.sandboxes.map(\.attempt).max() ?? -1) + 1
        // One that is not ready any more is replaced in the first round, and its containers with it.
        guard let newest = sight.sandboxes.max(by: { $0.attempt < $1.attempt }) else { return }
        sandbox = newest.id
        podIPs = newest.addresses
    }

    /// Says at once what cannot be done here, and goes on waiting for another spec.
    private mutating func refuse(_ reason: String) {
        for (name, slot) in slots.inOrder where !slot.isBusy {
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

    // MARK: Telling

    func facts() -> PodFacts {
        var facts = PodFacts(
            containers: pod.containers.compactMap { slots[$0.name]?.record },
            initContainers: pod.initContainers.compactMap { slots[$0.name]?.record }, hostIP: hostIP)
        facts.ephemeralContainers = pod.ephemeralContainers.compactMap { slots[$0.name]?.record }
        facts.podIPs = podIPs
        facts.startTime = startTime
        facts.sandboxIsReady = sandbox != nil
        facts.failure = failure
        facts.isOver = isOver
        return facts
    }

    mutating func publish() { if !isGone { outbox.append(.publish(facts())) } }

    mutating func tell(_ reason: String, _ message: String, isWarning: Bool = false, in view: ContainerView? = nil) {
        outbox.append(.event(warning: isWarning, reason: reason, message: message, container: view))
    }

    /// Records a warning once until a container was started: its cause may then be over.
    mutating func complain(_ reason: String, _ message: String) {
        if complained.insert(reason + message).inserted { tell(reason, message, isWarning: true) }
    }

    /// Asks for a round at a moment to come: the end of a back-off, a deadline, a token's renewal. Those are times by
    /// definition, and no event will tell of them.
    mutating func wake(at moment: Timestamp) { deadline = deadline.map { min($0, moment) } ?? moment }
}

extension [String: ContainerSlot] {
    /// By name: the same state gives the same actions.
    var inOrder: [(key: String, value: ContainerSlot)] { sorted { $0.key < $1.key } }
}
