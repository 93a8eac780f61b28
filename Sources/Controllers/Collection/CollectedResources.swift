// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

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

    /// Those that users defined, as far as the server knows such definitions.
    static func custom(_ client: KubeClient) async throws -> [(resource: GroupVersionResource, isNamespaced: Bool)] {
        let list: ObjectList
        do {
            list = try await client.list(.customResourceDefinitions)
        } catch let error as APIError where error.isNotFound {
            return []
        }
        let known = Set(ResourceRegistry.shared.resources.map(\.resource.groupResource))
        return list.items.compactMap { definition in
            let spec = definition["spec"]
            let versions = spec["versions"].array ?? []
            guard let group = spec["group"].string, let plural = spec["names"]["plural"].string,
                let version = versions.first(where: { $0["served"].bool ?? false })?["name"].string,
                !known.contains("\(plural).\(group)")
            else { return nil }
            return (GroupVersionResource(group, version, plural), spec["scope"].string == "Namespaced")
        }
    }
}
