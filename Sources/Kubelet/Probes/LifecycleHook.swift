// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import KubeClient
import Values

/// What a container has done after its start or before its stop.
package enum LifecycleHook: Sendable, Hashable {
    case action(ProbeSettings.Action)
    case sleep(Int)

    /// Nil when the container has none, or one that says nothing.
    package init?(_ name: String, of container: ContainerView) {
        guard let json = container.json["lifecycle"][name] else { return nil }
        if let seconds = json["sleep"]["seconds"].int {
            self = .sleep(min(max(seconds, 0), PodView.longestGrace))
        } else if let action = ProbeSettings.action(json, of: container) {
            self = .action(action)
        } else {
            return nil
        }
    }
}

extension PodWorker {
    /// Returns why the hook failed.
    nonisolated func run(
        _ hook: LifecycleHook, container: ContainerID, address: String, timeout: Int
    ) async -> String? {
        switch hook {
        case .sleep(let seconds):
            // The wait is what the hook asks for.
            try? await Task.sleep(for: .seconds(min(seconds, timeout)))
            return nil
        case .action(let action):
            switch await context.prober.perform(action, container: container, address: address, timeout: timeout) {
            case .success: return nil
            case .failure(let text): return text
            }
        }
    }

    /// Runs the hook that blocks a container from counting as started; a failure ends the container.
    func runPostStart(_ view: ContainerView, _ id: ContainerID) async {
        guard let hook = LifecycleHook("postStart", of: view) else { return }
        let failure = await run(hook, container: id, address: probeAddress, timeout: PodView.longestGrace)
        guard let failure, !Task.isCancelled else { return }
        event("FailedPostStartHook", "PostStartHook failed: \(failure)", type: .warning, in: view)
        event("Killing", "FailedPostStartHook", in: view)
        do { try await context.runtime.stopContainer(id, timeoutSeconds: pod.terminationGracePeriod) } catch {
            complain("FailedKillPod", "error killing container \(view.name): \(error)")
        }
    }
}
