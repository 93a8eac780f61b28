// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Gives the control plane's node its role. A kubelet may not choose such a label for itself.
struct NodeRoles: Sendable {
    private static let label = "node-role.kubernetes.io/control-plane"

    let client: KubeClient
    let controlPlane: String

    /// Follows the node until cancelled: should it register anew, it gets its role again.
    func run() async {
        let informer = Informer(client, .nodes, fieldSelector: "metadata.name=\(controlPlane)")
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await informer.run() }
            for await batch in informer.events() {
                guard let event = batch.last, !event.isDeletion, event.object.labels[Self.label] == nil else {
                    continue
                }
                // Should it fail, the node's next report is the next try.
                _ = try? await client.patch(
                    .nodes, controlPlane, type: .merge, ["metadata": ["labels": .object([Self.label: ""])]])
            }
        }
    }
}
