// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Logging
import Values

/// Removes what pods have left on the node that the API does not know any more: those that were deleted while the
/// kubelet was away. What cannot be removed yet, because its plugin waits for an agent, is tried again.
final class OrphanCollector: Sendable {
    private let context: KubeletContext
    private let rounds: AsyncStream<Void>
    private let bell: AsyncStream<Void>.Continuation

    init(context: KubeletContext) {
        self.context = context
        (rounds, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// There is a reason to try again.
    func ring() { bell.yield() }

    /// Works until nothing is left; `known` gives the uids of pods that have a worker, which will see to them.
    func run(_ known: @escaping @Sendable () -> Set<String>) async {
        var failures = 0
        ring()
        for await _ in rounds {
            guard await !collect(known(), complains: failures == 0) else { return }
            failures += 1
            let wait = min(0.25 * Double(1 << min(failures, 8)), 30)
            // What refuses to go (a busy mount, a plugin without its agent) tells nobody when it will.
            let bell = self.bell
            Task {
                try? await Task.sleep(for: .seconds(wait))
                bell.yield()
            }
        }
    }

    /// True when nothing is left.
    private func collect(_ known: Set<String>, complains: Bool) async -> Bool {
        var isClean = true
        func failed(_ message: String) {
            isClean = false
            context.log.log(level: complains ? .warning : .debug, "\(message)")
        }
        for sandbox in context.runtime.sandboxes() where !known.contains(sandbox.spec.podUID) {
            let spec = sandbox.spec
            do {
                for container in context.runtime.containers()
                where container.sandboxID == sandbox.id && container.state == .running {
                    try await context.runtime.stopContainer(container.id, timeoutSeconds: 2)
                }
                try await context.runtime.removeSandbox(sandbox.id)
                try NodeFiles.removeTree(
                    "\(context.configuration.podLogDirectory)/\(spec.podNamespace)_\(spec.podName)_\(spec.podUID)")
            } catch {
                failed("cannot remove what is left of pod \(spec.podNamespace)/\(spec.podName): \(error)")
            }
        }
        for uid in context.volumes.leftovers() where !known.contains(uid) {
            do { try context.volumes.tearDown(uid) } catch {
                failed("cannot remove the volumes of pod \(uid), which is gone: \(error)")
            }
        }
        return isClean
    }
}
