// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// Which resources hold objects that have to be deleted with their namespace or with their owner.
enum CollectedResources {
    /// Built in and Calico's: each set of objects once, however many groups serve it.
    static func builtIn() -> [(resource: GroupVersionResource, isNamespaced: Bool)] {
        ResourceRegistry.shared.resources
            .filter { type in
                type.resource == type.storage && ["list", "watch", "delete"].allSatisfy(type.verbs.contains)
            }
            .map { ($0.resource, $0.isNamespaced) }
    }
}
