// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeObjects
import Values

/// The end: what runs is stopped, then what the pod holds is given back, then the API may forget it.
extension PodMachine {
    /// The pod is being deleted.
    mutating func terminate(_ removal: Removal, _ sight: PodSight) {
        let isQuiet = stopAll(grace: removal.grace, sight)
        guard isQuiet else {
            publish()
            return
        }
        isOver = true
        publish()
        guard release(sight) else { return }
        guard !removal.isGone else {
            outbox.append(.removeLogs)
            outbox.append(.finish)
            isFinished = true
            return
        }
        if let retry = deleting.waits(sight.now) {
            wake(at: retry)
        } else if errands.insert(.deletion).inserted {
            outbox.append(.removeLogs)
            outbox.append(.delete)
        }
    }

    /// The pod is over, by itself or by a deadline, but stays in the API: its containers and its address go.
    mutating func end(_ sight: PodSight) {
        let grace = failure == nil ? pod.terminationGracePeriod : min(pod.terminationGracePeriod, 2)
        if isReleased || !stopAll(grace: grace, sight) {
            publish()
            return
        }
        isOver = true
        publish()
        _ = release(sight)
    }

    /// Stops what runs; true when nothing does any more.
    private mutating func stopAll(grace: Int, _ sight: PodSight) -> Bool {
        var isQuiet = true
        for (name, slot) in slots.inOrder {
            guard let start = slot.start else { continue }
            if !start.isCancelled {
                slots[name]?.start?.isCancelled = true
                outbox.append(.cancelStart(name))
            }
            // One that still waits for its image sees by itself that it was cancelled, whenever that comes.
            if !start.isPulling { isQuiet = false }
        }
        observe(sight)
        for (name, var slot) in slots.inOrder where slot.record.isRunning {
            isQuiet = false
            if slot.stopGrace == nil { tell("Killing", "Stopping container \(name)", in: slot.view) }
            // Nobody is killed for being dead while it is being stopped.
            if let probing = slot.probing, slot.stopGrace == nil {
                outbox.append(.endProbes(name, probing.hasStarted ? [.liveness] : [.liveness, .startup]))
            }
            stop(&slot, grace: grace)
            slots[name] = slot
        }
        return isQuiet
    }

    /// Stops a container; with less grace than before when that is asked for.
    mutating func stop(_ slot: inout ContainerSlot, grace: Int) {
        guard let id = slot.current, slot.stopGrace.map({ grace < $0 }) ?? true else { return }
        // Whoever is in more of a hurry than before does not wait for the hook again.
        let runsHook = slot.stopGrace == nil && grace > 0 && LifecycleHook("preStop", of: slot.view) != nil
        slot.stopGrace = grace
        outbox.append(.stop(slot.view, id, grace: grace, runsHook: runsHook))
    }

    /// Whether all was given back; asks for it. Not while something is being made: it would be left.
    private mutating func release(_ sight: PodSight) -> Bool {
        if isReleased { return true }
        guard errands.isDisjoint(with: [.sandbox, .formers, .volumes, .release]) else { return false }
        if let retry = releasing.waits(sight.now) {
            wake(at: retry)
            return false
        }
        errands.insert(.release)
        outbox.append(.release)
        return false
    }
}
