// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Synchronization
import Values

/// Tells kubelets how long they may keep Secrets and ConfigMaps before they look again: the more nodes there are, the
/// longer (annotation `node.alpha.kubernetes.io/ttl`, in seconds).
final class NodeTTL: Controller {
    static let annotation = "node.alpha.kubernetes.io/ttl"

    private let context: ControllerContext
    private let queue = WorkQueue<String>("ttlcontroller")
    private let step = Mutex(0)

    /// From how many nodes on a step is left downwards, at how many it is left upwards, and its seconds. They overlap, so
    /// that a cluster at a border does not change from one to the other all the time.
    private static let steps: [(least: Int, most: Int, seconds: Int)] = [
        (0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, .max, 300),
    ]

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let nodes = context.caches.nodes
        nodes.onChange { [self] change in
            if change.old == nil || change.new == nil, move(to: nodes.all.count) {
                return queue.add(nodes.all.map(\.name))
            }
            guard let node = change.new else { return }
            let before = change.old?.annotations[Self.annotation]
            if change.old == nil || node.annotations[Self.annotation] != before { queue.add(node.name) }
        }
    }

    func run() async { await queue.run(workers: 2) { name in try await self.reconcile(name) } }

    /// Goes to the step for so many nodes; false when that is where we are.
    private func move(to count: Int) -> Bool {
        step.withLock { step in
            let before = step
            while step > 0, count < Self.steps[step].least { step -= 1 }
            while step < Self.steps.count - 1, count > Self.steps[step].most { step += 1 }
            return step != before
        }
    }

    private func reconcile(_ name: String) async throws {
        let nodes = context.caches.nodes
        guard let node = nodes[ObjectKey(nil, name)] else { return }
        let seconds = String(Self.steps[step.withLock { $0 }].seconds)
        guard node.annotations[Self.annotation] != seconds else { return }
        do {
            try await nodes.patch(node, ["metadata": ["annotations": .object([Self.annotation: JSON(seconds)])]])
        } catch let error as APIError where error.isNotFound {
            // Gone.
        }
    }
}
