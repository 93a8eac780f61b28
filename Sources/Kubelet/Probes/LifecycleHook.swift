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
