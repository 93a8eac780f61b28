// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import Values

/// The probes of one run of a container, and what they have said.
final class ContainerProbes {
    let container: ContainerID
    var hasStarted: Bool
    private var passedReadiness: Bool
    private var tasks: [ProbeKind: Task<Void, Never>] = [:]

    init(container: ContainerID, view: ContainerView, startedAt: Timestamp) {
        self.container = container
        hasStarted = ProbeSettings(.startup, of: view) == nil
        passedReadiness = ProbeSettings(.readiness, of: view) == nil
    }

    var isReady: Bool { hasStarted && passedReadiness }

    func set(_ kind: ProbeKind, _ task: Task<Void, Never>) {
        tasks[kind]?.cancel()
        tasks[kind] = task
    }

    func note(_ kind: ProbeKind, _ success: Bool) {
        switch kind {
        case .startup:
            if success { hasStarted = true }
            tasks.removeValue(forKey: .startup)?.cancel()
        case .readiness: passedReadiness = success
        case .liveness: break
        }
    }

    /// Nobody is killed for being dead while it is being stopped.
    func stopLiveness() {
        tasks.removeValue(forKey: .liveness)?.cancel()
        tasks.removeValue(forKey: .startup)?.cancel()
    }

    func cancel() {
        for task in tasks.values { task.cancel() }
        tasks = [:]
    }

    deinit { for task in tasks.values { task.cancel() } }
}

extension PodWorker {
    /// Begins to ask a container that has just been started, or found running.
    func startProbes(of view: ContainerView, container: ContainerID, in slot: inout ContainerSlot) {
        guard let probes = slot.probes else { return }
        let kinds: [ProbeKind] = probes.hasStarted ? [.liveness, .readiness] : [.startup]
        for kind in kinds {
            guard let settings = ProbeSettings(kind, of: view) else { continue }
            probes.set(kind, Task { [weak self] in await self?.ask(kind, settings, view, container) })
        }
    }

    private nonisolated func ask(
        _ kind: ProbeKind, _ settings: ProbeSettings, _ view: ContainerView, _ container: ContainerID
    ) async {
        // Probes are periodic by definition: the waits here are the spec's.
        if settings.initialDelay > 0 { try? await Task.sleep(for: .seconds(settings.initialDelay)) }
        var counter = ProbeCounter(settings)
        var hasSucceeded = false
        // Until it first succeeds, within its first period, a container is asked more often, without its failures
        // being counted: it has just been started, and whoever waits for it should not wait for the period's end.
        var early = kind == .liveness ? settings.period * 1000 : 100
        var waited = 0
        while !Task.isCancelled {
            let address = await probeAddress
            let result = await context.prober.probe(settings, container: container, address: address)
            guard !Task.isCancelled else { return }
            let counts: Bool
            let success: Bool
            switch result {
            case .success:
                (success, counts) = (true, true)
                hasSucceeded = true
            case .failure(let text):
                success = false
                counts =
                    hasSucceeded || waited == 0 && early >= settings.period * 1000 || waited >= settings.period * 1000
                if counts { await unhealthy(kind, view, text) }
            }
            if counts, let verdict = counter.count(success) {
                await probed(kind, view, container, verdict, settings)
                if kind != .readiness, !verdict || kind == .startup { return }
            }
            var wait = settings.period * 1000
            if !hasSucceeded, waited < wait {
                wait = min(early, wait - waited)
                // At least ten times within the period.
                early = min(early * 2, settings.period * 100)
            }
            waited += wait
            try? await Task.sleep(for: .milliseconds(max(wait, 10)))
        }
    }

    var probeAddress: String {
        podIPs.first ?? (pod.hostNetwork ? context.configuration.nodeIP.description : "127.0.0.1")
    }

    private func unhealthy(_ kind: ProbeKind, _ view: ContainerView, _ text: String) {
        event("Unhealthy", "\(kind.rawValue) probe failed: \(text)", type: .warning, in: view)
    }

    private func probed(
        _ kind: ProbeKind, _ view: ContainerView, _ container: ContainerID, _ success: Bool, _ settings: ProbeSettings
    ) async {
        guard var slot = slots[view.name], let probes = slot.probes, probes.container == container else { return }
        probes.note(kind, success)
        if kind == .startup, success { startProbes(of: view, container: container, in: &slot) }
        if kind != .readiness, !success, removal == nil {
            event(
                "Killing", "Container \(view.name) failed \(kind.rawValue.lowercased()) probe, will be restarted",
                in: view)
            stop(&slot, grace: settings.gracePeriod ?? pod.terminationGracePeriod)
        }
        slots[view.name] = slot
        ring()
    }
}
