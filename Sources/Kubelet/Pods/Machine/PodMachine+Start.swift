// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeObjects
import Values

/// The beginning: network, volumes, sandbox, then containers as far as their time has come.
extension PodMachine {
    /// Whether the pod has all that its containers need; asks for the steps towards it.
    mutating func prepare(_ sight: PodSight) -> Bool {
        let now = sight.now
        if let known = sandbox, !sight.sandboxes.contains(where: { $0.id == known && $0.isReady }) {
            tell("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            sandbox = nil
            podIPs = []
            loseContainers(now)
        }
        if let due = tokenRenewal, due <= now {
            tokenRenewal = nil
            volumesAreStale = true
        }
        if let retry = setUp.waits(now) {
            wake(at: retry)
            return false
        }
        if sandbox == nil, !pod.hostNetwork, !errands.contains(.sandbox), let trouble = sight.networkTrouble {
            let words = NodeConditions.notReady(trouble)
            complain("NetworkNotReady", "network is not ready: container runtime network not ready: \(words)")
            // The runtime tells when that changes.
            return false
        }
        // What the downward API shows of addresses is known only with the sandbox; the rest goes side by side.
        if !hasVolumes || volumesAreStale, errands.insert(.volumes).inserted {
            volumesAreStale = false
            outbox.append(.setUpVolumes)
        }
        prepareSandbox(sight)
        guard sandbox != nil, hasVolumes, !volumesAreStale, !errands.contains(.volumes) else { return false }
        setUp.succeed()
        removeFormers(sight)
        if let tokenRenewal { wake(at: tokenRenewal) }
        return true
    }

    private mutating func prepareSandbox(_ sight: PodSight) {
        guard sandbox == nil, errands.isDisjoint(with: [.sandbox, .formers]) else { return }
        let held = sight.sandboxes.map(\.id)
        // Before the next one is made: a pod that asks for one certain address gets it only after it was given back.
        if !held.isEmpty, !triedFormers {
            errands.insert(.formers)
            outbox.append(.removeFormers(held))
            return
        }
        errands.insert(.sandbox)
        outbox.append(.createSandbox(attempt: sandboxAttempt))
    }

    /// What refused to go before the sandbox was made is tried again: a busy group, a mount.
    private mutating func removeFormers(_ sight: PodSight) {
        let left = sight.sandboxes.map(\.id).filter { $0 != sandbox }
        guard !left.isEmpty, !errands.contains(.formers) else { return }
        if let retry = formers.waits(sight.now) {
            wake(at: retry)
            return
        }
        errands.insert(.formers)
        outbox.append(.removeFormers(left))
    }

    /// The sandbox went, and its containers with it: all of them begin anew, the init containers too.
    private mutating func loseContainers(_ now: Timestamp) {
        for (name, var slot) in slots.inOrder {
            if slot.start != nil { outbox.append(.cancelStart(name)) }
            if let id = slot.current, slot.probing != nil { outbox.append(.forget(name, id)) }
            slot.start = nil
            slot.probing = nil
            slot.failedAt = nil
            slot.current = nil
            slot.stopGrace = nil
            if case .running(let since) = slot.record.state {
                slot.record.state = .terminated(
                    Termination(
                        exitCode: 137, reason: "ContainerStatusUnknown",
                        message: "The container could not be located when its sandbox was gone", startedAt: since,
                        finishedAt: now, containerID: slot.record.containerID))
            }
            if slot.view.role == .initial, let end = slot.record.termination {
                slot.record.last = end
                slot.record.state = .waiting(reason: "PodInitializing", message: nil)
            } else {
                slot.restartWanted =
                    slot.record.termination.map { pod.restartPolicy.restarts(exitCode: $0.exitCode) } ?? false
            }
            slot.record.isReady = false
            slots[name] = slot
        }
    }

    // MARK: Containers

    /// Starts the init containers one after the other, then the others all at once, as far as their time has come.
    /// Those that were added for debugging wait for none of these, and run once.
    mutating func startWhatIsDue(_ sight: PodSight) {
        for view in pod.ephemeralContainers {
            guard let slot = slots[view.name], !slot.isBusy, slot.record.termination == nil, slot.record.last == nil
            else { continue }
            startIfDue(view.name, sight)
        }
        let mainHasRun = pod.containers.contains { slots[$0.name]?.current != nil }
        if !mainHasRun {
            for view in pod.initContainers {
                guard let slot = slots[view.name] else { return }
                if slot.record.termination?.exitCode == 0 { continue }
                if slot.isBusy { return }
                if let end = slot.record.termination, end.exitCode != 0, pod.restartPolicy == .never { return }
                startIfDue(view.name, sight)
                return
            }
        }
        for view in pod.containers {
            guard let slot = slots[view.name], !slot.isBusy else { continue }
            if let end = slot.record.termination, !slot.restartWanted,
                !pod.restartPolicy.restarts(exitCode: end.exitCode)
            {
                continue
            }
            startIfDue(view.name, sight)
        }
    }

    private mutating func startIfDue(_ name: String, _ sight: PodSight) {
        guard var slot = slots[name] else { return }
        let now = sight.now
        if let retry = slot.retryAt, retry > now {
            wake(at: retry)
            return
        }
        if let failed = slot.failedAt {
            if let due = slot.backoff.due(after: failed), due > now, !slot.restartWanted {
                if let end = slot.record.termination {
                    slot.record.last = end
                    slot.record.state = .waiting(
                        reason: "CrashLoopBackOff",
                        message: "back-off \(slot.backoff.text) restarting failed container=\(name) pod=\(pod.title)")
                    tell(
                        "BackOff", "Back-off restarting failed container \(name) in pod \(pod.title)", isWarning: true,
                        in: slot.view)
                    slots[name] = slot
                }
                wake(at: due)
                return
            }
            slot.backoff.willTry(at: now, after: failed)
        }
        starts += 1
        slot.retryAt = nil
        slot.start = ContainerSlot.Start(number: starts)
        slots[name] = slot
        let (attempt, stale) = nextAttempt(slot, sight)
        outbox.append(.start(slot.view, number: starts, attempt: attempt, stale: stale))
    }

    /// The number of the next run, and the container that was made for it and never ran.
    private func nextAttempt(_ slot: ContainerSlot, _ sight: PodSight) -> (Int, ContainerID?) {
        if let latest = slot.current.flatMap({ id in sight.containers.first { $0.id == id } }) {
            if latest.state == .created { return (latest.attempt, latest.id) }
            return (max(latest.attempt, slot.record.restartCount) + 1, nil)
        }
        return (slot.record.termination != nil || slot.record.last != nil ? slot.record.restartCount + 1 : 0, nil)
    }

    // MARK: What is seen

    /// Takes note of what the runtime says of the pod's containers. Those of a sandbox that was lost count no more, even
    /// while they cannot be removed.
    mutating func observe(_ sight: PodSight) {
        var newest: [String: ContainerStatus] = [:]
        for status in sight.containers where status.sandboxID == sandbox {
            if let other = newest[status.name], other.attempt >= status.attempt { continue }
            newest[status.name] = status
        }
        for (name, var slot) in slots.inOrder {
            guard let status = newest[name] else { continue }
            slot.current = status.id
            switch status.state {
            case .created: break
            case .running: if slot.start == nil { running(&slot, status, sight) }
            case .exited: if slot.start == nil, slot.handledExit != status.id { exited(&slot, status, sight) }
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

    private mutating func running(_ slot: inout ContainerSlot, _ status: ContainerStatus, _ sight: PodSight) {
        describe(&slot, status)
        slot.record.state = .running(status.startedAt ?? status.createdAt)
        let probing: ContainerSlot.Probing
        if let known = slot.probing, known.container == status.id {
            probing = known
        } else {
            probing = ContainerSlot.Probing(status.id, of: slot.view)
            slot.probing = probing
            outbox.append(.follow(status.id))
            if slot.view.role == .regular, going == nil { probe(slot.view, probing) }
        }
        slot.record.hasStarted = probing.hasStarted
        slot.record.isReady = slot.view.role == .regular && probing.isReady
    }

    /// Until a container has started nothing else is asked.
    mutating func probe(_ view: ContainerView, _ probing: ContainerSlot.Probing) {
        let kinds: [ProbeKind] = probing.hasStarted ? [.liveness, .readiness] : [.startup]
        let wanted = kinds.filter { ProbeSettings($0, of: view) != nil }
        if !wanted.isEmpty { outbox.append(.probe(view, probing.container, wanted)) }
    }

    private mutating func exited(_ slot: inout ContainerSlot, _ status: ContainerStatus, _ sight: PodSight) {
        describe(&slot, status)
        slot.handledExit = status.id
        slot.probing = nil
        slot.stopGrace = nil
        outbox.append(.forget(slot.view.name, status.id))
        if case .terminated(let old) = slot.record.state, old.containerID != status.id { slot.record.last = old }
        let end = sight.ends[status.id] ?? ContainerRecord.termination(status, message: nil, now: sight.now)
        slot.record.state = .terminated(end)
        slot.record.hasStarted = false
        // An init container that succeeded is ready for ever.
        slot.record.isReady = slot.view.role == .initial && end.exitCode == 0
        slot.failedAt = end.finishedAt
        slot.retryAt = nil
    }
}
