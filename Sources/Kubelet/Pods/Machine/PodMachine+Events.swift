// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeObjects
package import Values

/// What events change.
extension PodMachine {
    /// Takes note of an event.
    ///
    /// - Returns: whether a round may have something to do.
    package mutating func take(_ event: PodEvent, at now: Timestamp) -> Bool {
        switch event {
        case .updated(let next): return update(next)
        case .vanished(let last):
            going = Removal(grace: min(last.deletionGracePeriod ?? 1, going?.grace ?? .max), isGone: true)
        case .objectsChanged: objectsChanged()
        case .networkChanged:
            setUp.at = nil
            formers.at = nil
            releasing.at = nil
        case .evicted(let message):
            guard failure == nil, !isOver, going == nil else { return false }
            failure = ("Evicted", message)
            tell("Evicted", message, isWarning: true)
        case .formersRemoved(let failures): formersRemoved(failures, now)
        case .sandboxMade(let id, let addresses):
            errands.remove(.sandbox)
            sandboxAttempt += 1
            triedFormers = false
            sandbox = id
            podIPs = addresses
        case .sandboxFailed(let message):
            errands.remove(.sandbox)
            sandboxAttempt += 1
            sandboxFailed(message, now)
        case .volumesMade(let renewal):
            errands.remove(.volumes)
            hasVolumes = true
            tokenRenewal = renewal.map { max($0, now.adding(seconds: 1)) }
        case .volumesFailed(let message):
            errands.remove(.volumes)
            volumesAreStale = true
            complain("FailedMount", message)
            setUp.fail(now)
        case .released(let failure): released(failure, now)
        case .deleted(let failure):
            errands.remove(.deletion)
            if failure == nil {
                outbox.append(.finish)
                isFinished = true
            } else {
                deleting.at = now.adding(seconds: 1)
            }
        case .imageReady(let name, let number):
            guard slots[name]?.start?.number == number else { return false }
            slots[name]?.start?.isPulling = false
            return false
        case .startEnded(let name, let number, let outcome): return startEnded(name, number, outcome, now)
        case .probed(let name, let container, let kind, let success):
            return probed(name, container, kind, success)
        }
        return true
    }

    private mutating func update(_ next: PodView) -> Bool {
        // A pod that somebody else has ended is over, whatever still runs.
        if next.isTerminal { isOver = true }
        let old = pod
        pod = next
        if let grace = next.deletionGracePeriod {
            going = Removal(grace: min(grace, going?.grace ?? grace), isGone: going?.isGone ?? false)
        }
        for view in next.ephemeralContainers where slots[view.name] == nil {
            slots[view.name] = ContainerSlot(
                view: view, record: .restored(view, of: next, waiting: "ContainerCreating"))
        }
        for view in next.allContainers {
            guard var slot = slots[view.name] else { continue }
            if slot.view.image != view.image, slot.record.isRunning, view.role == .regular {
                slot.restartWanted = true
                tell("Killing", "Container \(view.name) definition changed, will be restarted", in: view)
                stop(&slot, grace: next.terminationGracePeriod)
            }
            slot.view = view
            slots[view.name] = slot
        }
        let oldMeaning = [old.spec, old.object.metadata["labels"], old.object.metadata["annotations"]]
        let meaning = [next.spec, next.object.metadata["labels"], next.object.metadata["annotations"]]
        if meaning != oldMeaning, hasVolumes { volumesAreStale = true }
        return old.object.isBeingDeleted != next.object.isBeingDeleted || oldMeaning != meaning
            || old.deletionGracePeriod != next.deletionGracePeriod || !next.readinessGates.isEmpty
            || old.isTerminal != next.isTerminal
    }

    private mutating func objectsChanged() {
        volumesAreStale = true
        // Waiting for an object that was missing is over, perhaps.
        setUp.at = nil
        for (name, slot) in slots.inOrder {
            guard case .waiting("CreateContainerConfigError", _) = slot.record.state else { continue }
            slots[name]?.retryAt = nil
            slots[name]?.failedAt = nil
        }
    }

    private mutating func formersRemoved(_ failures: [(message: String, holdsAddress: Bool)], _ now: Timestamp) {
        errands.remove(.formers)
        for failure in failures { complain("FailedKillPod", "error killing pod: \(failure.message)") }
        if failures.isEmpty { formers.succeed() } else { formers.fail(now) }
        guard sandbox == nil else { return }
        if let failure = failures.first(where: \.holdsAddress) {
            // Anything else that refuses to go keeps nobody from going on.
            sandboxFailed("its former sandbox is still there: \(failure.message)", now)
        } else {
            triedFormers = true
        }
    }

    private mutating func sandboxFailed(_ message: String, _ now: Timestamp) {
        triedFormers = false
        complain("FailedCreatePodSandBox", "Failed to create pod sandbox: \(message)")
        setUp.fail(now)
    }

    private mutating func released(_ failure: String?, _ now: Timestamp) {
        errands.remove(.release)
        if let failure {
            complain("FailedKillPod", "error killing pod: \(failure)")
            releasing.fail(now)
        } else {
            isReleased = true
            sandbox = nil
            releasing.succeed()
        }
    }

    // MARK: Containers

    private mutating func startEnded(
        _ name: String, _ number: Int, _ outcome: StartOutcome, _ now: Timestamp
    ) -> Bool {
        // One that was given up with its sandbox has nothing to say.
        guard var slot = slots[name], slot.start?.number == number else { return false }
        slot.start = nil
        switch outcome {
        case .started(let id, let attempt):
            if let end = slot.record.termination { slot.record.last = end }
            slot.restartWanted = false
            slot.failedAt = nil
            slot.current = id
            slot.record.restartCount = attempt
            complained.removeAll()
        case .waiting(let reason, let message, let retry):
            wait(&slot, reason, message, retry)
            // A pull has its own back-off.
            slot.failedAt = nil
        case .failed(let reason, let message):
            tell("Failed", "Error: \(message)", isWarning: true, in: slot.view)
            // Nothing tells when what a container lacks is there, but for the objects that are watched.
            wait(&slot, reason, message, now.adding(seconds: Double(max(slot.backoff.seconds, 2))))
            slot.failedAt = now
        case .cancelled: break
        }
        slots[name] = slot
        return true
    }

    private func wait(_ slot: inout ContainerSlot, _ reason: String, _ message: String, _ retry: Timestamp?) {
        if let end = slot.record.termination { slot.record.last = end }
        slot.record.state = .waiting(reason: reason, message: message)
        slot.record.isReady = false
        slot.retryAt = retry
    }

    private mutating func probed(_ name: String, _ container: ContainerID, _ kind: ProbeKind, _ success: Bool) -> Bool {
        guard var slot = slots[name], var probing = slot.probing, probing.container == container else { return false }
        switch kind {
        case .startup:
            if success {
                probing.hasStarted = true
                probe(slot.view, probing)
            }
        case .readiness: probing.passedReadiness = success
        case .liveness: break
        }
        slot.probing = probing
        if kind != .readiness, !success, going == nil {
            tell(
                "Killing", "Container \(name) failed \(kind.rawValue.lowercased()) probe, will be restarted",
                in: slot.view)
            stop(&slot, grace: ProbeSettings(kind, of: slot.view)?.gracePeriod ?? pod.terminationGracePeriod)
        }
        slots[name] = slot
        return true
    }
}
