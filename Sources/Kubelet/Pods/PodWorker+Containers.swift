// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import KubeClient
import KubeObjects
import Linux
import Logging
import Values

/// Starting, asking and stopping containers.
extension PodWorker {
    /// One try to start a container, from its image to its first instruction.
    func start(_ view: ContainerView, _ number: Int, attempt: Int, stale: ContainerID?) async -> StartOutcome {
        guard let sandbox else { return .cancelled }
        let image: LocalImage
        switch await context.puller.ensure(view, of: pod) {
        case .ready(let found): image = found
        case .waiting(let reason, let message, let retry):
            return Task.isCancelled ? .cancelled : .waiting(reason: reason, message: message, retryAt: retry)
        }
        guard !Task.isCancelled else { return .cancelled }
        tell(.imageReady(view.name, number: number))
        let spec: ContainerSpec
        do { spec = try await containerSpec(view, image: image, attempt: attempt, sandbox: sandbox) } catch {
            return .failed(reason: "CreateContainerConfigError", message: "\(error)")
        }
        let id: ContainerID
        do {
            if let stale { try await context.runtime.removeContainer(stale) }
            id = try await context.runtime.createContainer(spec)
            event("Created", "Container created", in: view)
        } catch {
            let isConfiguration = (error as? RuntimeError)?.kind == .invalid
            return .failed(
                reason: isConfiguration ? "CreateContainerConfigError" : "CreateContainerError", message: "\(error)")
        }
        do {
            try Task.checkCancellation()
            try await context.runtime.startContainer(id)
        } catch {
            // The container that never ran is no run: it leaves no attempt behind.
            do { try await context.runtime.removeContainer(id) } catch let second {
                context.log.warning("container \(view.name) of pod \(pod.key), which did not start, stays: \(second)")
            }
            return Task.isCancelled ? .cancelled : .failed(reason: "RunContainerError", message: "\(error)")
        }
        event("Started", "Container started", in: view)
        await runPostStart(view, id)
        linkLog(view, id: id, path: spec.logPath)
        removeOldContainers(view.name, keeping: id)
        return .started(id, attempt: attempt)
    }

    /// Runs the hook that blocks a container from counting as started; a failure ends the container.
    private func runPostStart(_ view: ContainerView, _ id: ContainerID) async {
        guard let hook = LifecycleHook("postStart", of: view) else { return }
        let failure = await context.run(hook, container: id, address: probeAddress, timeout: PodView.longestGrace)
        guard let failure, !Task.isCancelled else { return }
        event("FailedPostStartHook", "PostStartHook failed: \(failure)", type: .warning, in: view)
        event("Killing", "FailedPostStartHook", in: view)
        await stop(view, id, grace: pod.terminationGracePeriod, runsHook: false)
    }

    /// Returns when the container has ended, or says why it does not.
    func stop(_ view: ContainerView, _ id: ContainerID, grace: Int, runsHook: Bool) async {
        var left = grace
        if runsHook, let hook = LifecycleHook("preStop", of: view) {
            let begun = Timestamp.now
            if let failure = await context.run(hook, container: id, address: probeAddress, timeout: grace) {
                event("FailedPreStopHook", "PreStopHook failed: \(failure)", type: .warning, in: view)
            }
            left = max(grace - Int(Timestamp.now.seconds(since: begun)), 2)
        }
        do { try await context.runtime.stopContainer(id, timeoutSeconds: left) } catch {
            if Task.isCancelled { return }
            event(
                "FailedKillPod", "error killing container \(view.name): \(error)", type: .warning,
                in: view)
        }
        ring()
    }

    var probeAddress: String {
        podIPs.first ?? (pod.hostNetwork ? context.configuration.nodeIP.description : "127.0.0.1")
    }

    /// Asks a container until it has been told what it wants to know, or is cancelled.
    func ask(_ kind: ProbeKind, _ settings: ProbeSettings, _ view: ContainerView, _ container: ContainerID) async {
        // Probes are periodic by definition: the waits here are the spec's.
        guard await Self.sleep(.seconds(settings.initialDelay)) else { return }
        var counter = ProbeCounter(settings)
        var hasSucceeded = false
        // Until it first succeeds, within its first period, a container is asked more often, without its failures
        // being counted: it has just been started, and whoever waits for it should not wait for the period's end.
        let period = settings.period * 1000
        var early = kind == .liveness ? period : 100
        var waited = 0
        while !Task.isCancelled {
            let result = await context.prober.probe(settings, container: container, address: probeAddress)
            guard !Task.isCancelled else { return }
            let counts: Bool
            let success: Bool
            switch result {
            case .success:
                (success, counts) = (true, true)
                hasSucceeded = true
            case .failure(let text):
                success = false
                counts = hasSucceeded || waited == 0 && early >= period || waited >= period
                if counts { event("Unhealthy", "\(kind.rawValue) probe failed: \(text)", type: .warning, in: view) }
            }
            if counts, let verdict = counter.count(success) {
                tell(.probed(view.name, container, kind, verdict))
                if kind != .readiness, !verdict || kind == .startup { return }
            }
            var wait = period
            if !hasSucceeded, waited < wait {
                wait = min(early, wait - waited)
                // At least ten times within the period.
                early = min(early * 2, settings.period * 100)
            }
            waited += wait
            guard await Self.sleep(.milliseconds(max(wait, 10))) else { return }
        }
    }

    /// False when it was cancelled.
    private static func sleep(_ wait: Duration) async -> Bool {
        do { try await Task.sleep(for: wait) } catch { return false }
        return true
    }

    // MARK: Logs

    /// Of the containers that ended, the latest is kept for its log and its state; those before it are removed.
    private func removeOldContainers(_ name: String, keeping id: ContainerID) {
        let runtime = context.runtime
        let old = runtime.containers().filter {
            $0.labels[ContainerLabels.podUID] == uid && $0.name == name && $0.id != id && $0.state == .exited
        }.sorted { $0.attempt > $1.attempt }.dropFirst()
        guard !old.isEmpty else { return }
        errand { worker in
            for container in old { await worker.removeOld(container) }
            return nil
        }
    }

    private func removeOld(_ container: ContainerStatus) async {
        let link = ContainerLogs.linkName(pod, container.name, container.id)
        do {
            try await context.runtime.removeContainer(container.id)
            try NodeFiles.removeTree("\(context.configuration.containerLogDirectory)/\(link)")
            if let path = container.logPath { try NodeFiles.removeTree(path) }
        } catch {
            // It goes with its pod at the latest.
            context.log.warning("an ended run of container \(container.name) of pod \(pod.key) stays: \(error)")
        }
    }

    private func linkLog(_ view: ContainerView, id: ContainerID, path: String?) {
        guard let path else { return }
        let directory = context.configuration.containerLogDirectory
        // A convenience for people and log shippers: the log itself is at its place without it.
        do { try NodeFiles.makeDirectory(directory) } catch {
            context.log.debug("logs have no links: \(error)")
            return
        }
        ContainerLogs.link("\(directory)/\(ContainerLogs.linkName(pod, view.name, id))", to: path)
    }

    func removeLogs() {
        let configuration = context.configuration
        let prefix = "\(pod.name)_\(pod.namespace)_"
        var paths = [configuration.logDirectory(pod)]
        for name in NodeFiles.list(configuration.containerLogDirectory) where name.hasPrefix(prefix) {
            let path = "\(configuration.containerLogDirectory)/\(name)"
            if let target = NodeFiles.link(path), target.contains(uid) { paths.append(path) }
        }
        for path in paths {
            // What stays is found by the collector of orphans.
            do { try NodeFiles.removeTree(path) } catch { context.log.debug("logs of pod \(pod.key): \(error)") }
        }
    }
}

extension KubeletContext {
    /// Returns why the hook failed.
    func run(_ hook: LifecycleHook, container: ContainerID, address: String, timeout: Int) async -> String? {
        switch hook {
        case .sleep(let seconds):
            // The wait is what the hook asks for; whoever cancels it has what comes after come at once.
            do { try await Task.sleep(for: .seconds(min(seconds, timeout))) } catch { return nil }
            return nil
        case .action(let action):
            switch await prober.perform(action, container: container, address: address, timeout: timeout) {
            case .success: return nil
            case .failure(let text): return text
            }
        }
    }
}
