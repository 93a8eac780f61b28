// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import KubeObjects
import Values

/// Starting and stopping containers.
extension PodWorker {
    /// Starts the init containers one after the other, then the others all at once, as far as their time has come.
    /// Those that were added for debugging wait for none of these, and run once.
    func startWhatIsDue() {
        for view in pod.ephemeralContainers {
            guard let slot = slots[view.name], !slot.isBusy, slot.record.termination == nil, slot.record.last == nil
            else { continue }
            startIfDue(view.name)
        }
        let mainHasRun = pod.containers.contains { slots[$0.name]?.current != nil }
        if !mainHasRun {
            for view in pod.initContainers {
                guard let slot = slots[view.name] else { return }
                if slot.record.termination?.exitCode == 0 { continue }
                if slot.isBusy { return }
                if let end = slot.record.termination, end.exitCode != 0, pod.restartPolicy == .never { return }
                startIfDue(view.name)
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
            startIfDue(view.name)
        }
    }

    private func startIfDue(_ name: String) {
        guard var slot = slots[name] else { return }
        let now = Timestamp.now
        if let retry = slot.retryAt, retry > now {
            ring(at: retry)
            return
        }
        if let failed = slot.failedAt {
            if let due = slot.backoff.due(after: failed), due > now, !slot.restartWanted {
                if let end = slot.record.termination {
                    slot.record.last = end
                    slot.record.state = .waiting(
                        reason: "CrashLoopBackOff",
                        message: "back-off \(slot.backoff.text) restarting failed container=\(name) pod=\(pod.title)")
                    event(
                        "BackOff", "Back-off restarting failed container \(name) in pod \(pod.title)", type: .warning,
                        in: slot.view)
                    slots[name] = slot
                }
                ring(at: due)
                return
            }
            slot.backoff.willTry(at: now, after: failed)
        }
        slot.retryAt = nil
        slot.starting = Task { await self.start(name) }
        KubeletMetrics.startedContainers.add(1, [slot.view.role.metricType])
        slots[name] = slot
    }

    /// One try to start a container, from its image to its first instruction.
    private func start(_ name: String) async {
        defer {
            slots[name]?.starting = nil
            ring()
        }
        guard let view = slots[name]?.view, let sandbox else { return }
        let image: LocalImage
        slots[name]?.isPulling = true
        let outcome = await context.puller.ensure(view, of: pod)
        slots[name]?.isPulling = false
        switch outcome {
        case .ready(let found): image = found
        case .waiting(let reason, let message, let retry):
            guard !Task.isCancelled else { return }
            waiting(name, reason, message, retryAt: retry)
            // A pull has its own back-off.
            slots[name]?.failedAt = nil
            return
        }
        guard !Task.isCancelled else { return }
        let attempt = nextAttempt(name)
        let spec: ContainerSpec
        do {
            spec = try await containerSpec(view, image: image, attempt: attempt, sandbox: sandbox)
        } catch {
            fail(name, "CreateContainerConfigError", "\(error)")
            return
        }
        let id: ContainerID
        do {
            if let stale = slots[name]?.current, context.runtime.container(stale)?.state == .created {
                try await context.runtime.removeContainer(stale)
            }
            id = try await context.runtime.createContainer(spec)
            event("Created", "Container created", in: view)
        } catch {
            fail(
                name,
                (error as? RuntimeError)?.kind == .invalid ? "CreateContainerConfigError" : "CreateContainerError",
                "\(error)")
            return
        }
        do {
            try Task.checkCancellation()
            try await context.runtime.startContainer(id)
        } catch {
            // The container that never ran is no run: it leaves no attempt behind.
            try? await context.runtime.removeContainer(id)
            if !Task.isCancelled { fail(name, "RunContainerError", "\(error)") }
            return
        }
        event("Started", "Container started", in: view)
        await runPostStart(view, id)
        started(name, id, attempt: attempt)
        linkLog(view, id: id, path: spec.logPath)
        removeOldContainers(name, keeping: id)
    }

    private func nextAttempt(_ name: String) -> Int {
        guard let slot = slots[name] else { return 0 }
        let latest = slot.current.flatMap { context.runtime.container($0) }
        if let latest, latest.state == .created { return latest.attempt }
        if let latest { return max(latest.attempt, slot.record.restartCount) + 1 }
        return slot.record.termination != nil || slot.record.last != nil ? slot.record.restartCount + 1 : 0
    }

    private func started(_ name: String, _ id: ContainerID, attempt: Int) {
        guard var slot = slots[name] else { return }
        if let end = slot.record.termination { slot.record.last = end }
        slot.restartWanted = false
        slot.failedAt = nil
        slot.current = id
        slot.starting = nil
        slot.record.restartCount = attempt
        slots[name] = slot
        calm()
        observe()
    }

    private func waiting(_ name: String, _ reason: String, _ message: String, retryAt: Timestamp?) {
        guard var slot = slots[name] else { return }
        if let end = slot.record.termination { slot.record.last = end }
        slot.record.state = .waiting(reason: reason, message: message)
        slot.record.isReady = false
        slot.retryAt = retryAt
        slots[name] = slot
        if let retryAt { ring(at: retryAt) }
    }

    private func fail(_ name: String, _ reason: String, _ message: String) {
        guard let view = slots[name]?.view else { return }
        event("Failed", "Error: \(message)", type: .warning, in: view)
        // Nothing tells when what a container lacks is there, but for the objects that are watched.
        let retry = Timestamp.now.adding(seconds: Double(max(slots[name]?.backoff.seconds ?? 0, 2)))
        waiting(name, reason, message, retryAt: retry)
        slots[name]?.failedAt = .now
    }

    /// Stops a container beside the round; with less grace than before when that is asked for.
    func stop(_ slot: inout ContainerSlot, grace: Int) {
        guard let id = slot.current, slot.stopGrace.map({ grace < $0 }) ?? true else { return }
        // Whoever is in more of a hurry than before does not wait for the hook again.
        let hook = slot.stopGrace == nil && grace > 0 ? LifecycleHook("preStop", of: slot.view) : nil
        slot.stopGrace = grace
        let runtime = context.runtime
        let address = probeAddress
        let view = slot.view
        slot.stopping = Task { [weak self] in
            var left = grace
            if let hook {
                let begun = Timestamp.now
                if let failure = await self?.run(hook, container: id, address: address, timeout: grace) {
                    await self?.event("FailedPreStopHook", "PreStopHook failed: \(failure)", type: .warning, in: view)
                }
                left = max(grace - Int(Timestamp.now.seconds(since: begun)), 2)
            }
            do { try await runtime.stopContainer(id, timeoutSeconds: left) } catch {
                if !Task.isCancelled {
                    await self?.complain("FailedKillPod", "error killing container \(view.name): \(error)")
                }
            }
            self?.ring()
        }
    }

    /// Of the containers that ended, the latest is kept for its log and its state; those before it are removed.
    private func removeOldContainers(_ name: String, keeping id: ContainerID) {
        let runtime = context.runtime
        let old = runtime.containers().filter {
            $0.labels[ContainerLabels.podUID] == uid && $0.name == name && $0.id != id && $0.state == .exited
        }.sorted { $0.attempt > $1.attempt }.dropFirst()
        guard !old.isEmpty else { return }
        let logs = context.configuration.containerLogDirectory
        let pod = self.pod
        // Not structured: what fails here is found again when the pod is cleared away.
        Task {
            for container in old {
                try? await runtime.removeContainer(container.id)
                try? NodeFiles.removeTree("\(logs)/\(ContainerLogs.linkName(pod, name, container.id))")
                if let path = container.logPath { try? NodeFiles.removeTree(path) }
            }
        }
    }

    private func linkLog(_ view: ContainerView, id: ContainerID, path: String?) {
        guard let path else { return }
        let directory = context.configuration.containerLogDirectory
        // A convenience for people and log shippers: the log itself is at its place without it.
        try? NodeFiles.makeDirectory(directory)
        ContainerLogs.link("\(directory)/\(ContainerLogs.linkName(pod, view.name, id))", to: path)
    }
}
