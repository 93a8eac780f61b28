// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
package import KubeObjects
import Linux
import Logging
import Values

/// What a pod may keep on the node's disk.
package struct StorageLimits: Sendable {
    package struct Limit: Sendable, Hashable {
        package let name: String
        package let quantity: Quantity

        init?(_ name: String, _ amount: JSON?) {
            guard let quantity = amount.flatMap(ResourceAmount.quantity), quantity.value > 0 else { return nil }
            self.name = name
            self.quantity = quantity
        }

        func isExceeded(by bytes: Int64?) -> Bool { bytes ?? 0 > quantity.value }
    }

    /// Of volumes of type emptyDir on disk; those in memory the kernel keeps within theirs.
    package let volumes: [Limit]
    package let containers: [Limit]

    package init(of pod: PodView) {
        volumes = (pod.spec["volumes"].array ?? []).compactMap { volume in
            guard let source = volume["emptyDir"], source["medium"].string != "Memory" else { return nil }
            return Limit(volume["name"].string ?? "", source["sizeLimit"])
        }
        containers = pod.containers.compactMap {
            Limit($0.name, $0.json["resources"]["limits"]["ephemeral-storage"])
        }
    }

    package var isEmpty: Bool { volumes.isEmpty && containers.isEmpty }

    /// Bytes by name.
    package struct Usage: Sendable {
        package var volumes: [String: Int64] = [:]
        /// What a container has written over its image, and its logs.
        package var containers: [String: Int64] = [:]

        package init(volumes: [String: Int64] = [:], containers: [String: Int64] = [:]) {
            self.volumes = volumes
            self.containers = containers
        }

        var total: Int64 { containers.values.reduce(volumes.values.reduce(0, &+), &+) }
    }

    /// Why the pod has to go, in upstream's words; nil when it is within its limits.
    package func excess(_ usage: Usage) -> String? {
        for limit in volumes where limit.isExceeded(by: usage.volumes[limit.name]) {
            return "Usage of EmptyDir volume \"\(limit.name)\" exceeds the limit \"\(limit.quantity)\". "
        }
        // The limits of containers together are the pod's, over all that it keeps.
        let sum = containers.reduce(Quantity.zero) { $0 + $1.quantity }
        if !containers.isEmpty, usage.total > sum.value {
            return "Pod ephemeral local storage usage exceeds the total limit of containers \(sum). "
        }
        for limit in containers where limit.isExceeded(by: usage.containers[limit.name]) {
            return "Container \(limit.name) exceeded its local ephemeral storage limit \"\(limit.quantity)\". "
        }
        return nil
    }
}

/// Measures what a pod keeps on disk.
struct StorageMeter: Sendable {
    let context: KubeletContext
    let limits: StorageLimits
    let pod: PodView

    /// Calls `exceeded` with the reason when a limit is exceeded, once.
    ///
    /// Nothing in the kernel tells that a tree has grown beyond a size; so the trees of pods that have limits, and of
    /// those only, are measured every ten seconds, as upstream does.
    func watch(_ exceeded: @escaping @Sendable (String) async -> Void) -> Task<Void, Never> {
        // Not structured: its holder ends it.
        Task {
            do {
                while true {
                    try await Task.sleep(for: context.configuration.storageInterval)
                    let usage = try await OwnThread.run(awaiting: { measure() })
                    if let message = limits.excess(usage) { return await exceeded(message) }
                }
            } catch {
                if !Task.isCancelled {
                    context.log.warning("what pod \(pod.key) keeps on disk is measured no more: \(error)")
                }
            }
        }
    }

    private func measure() -> StorageLimits.Usage {
        var usage = StorageLimits.Usage()
        for volume in pod.spec["volumes"].array ?? [] where volume["emptyDir"] != nil {
            guard volume["emptyDir"]["medium"].string != "Memory", let name = volume["name"].string else { continue }
            usage.volumes[name] = DiskUsage.bytes(below: context.volumes.emptyDirPath(pod.uid, name))
        }
        for container in context.runtime.containers() where container.labels[ContainerLabels.podUID] == pod.uid {
            let logs = container.logPath.map { DiskUsage.bytes(below: Files.directory(of: $0)) } ?? 0
            let layer = DiskUsage.bytes(below: context.runtime.writableLayer(container.id))
            // Runs of one container that are over share the folder of logs with the latest.
            usage.containers[container.name] = max(usage.containers[container.name] ?? 0, layer + logs)
        }
        return usage
    }
}
