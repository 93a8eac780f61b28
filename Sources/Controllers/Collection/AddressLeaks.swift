// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import NetworkModel
import Values

/// Which handles hold addresses that nobody uses any more: pure.
package struct AddressLeaks: Sendable {
    package struct Leak: Sendable, Hashable {
        package var handleID: String
        /// The pod that had them, if a pod had them.
        package var pod: ObjectKey?
        package var node: String?
        /// The node is gone: nothing can use the address any more, and no grace is needed.
        package var isCertain: Bool
    }

    /// Handles all of whose addresses are leaked.
    package static func find(
        blocks: some Sequence<IPAMBlock>, pod: (ObjectKey) -> KubeObject?, nodeExists: (String) -> Bool
    ) -> [Leak] {
        var leaks: [String: Leak] = [:]
        var used: Set<String> = []
        for block in blocks {
            for (address, attribute) in block.assignments {
                guard let handle = attribute.handleID else { continue }
                if let leak = judge(address, attribute, handle, pod, nodeExists) {
                    leaks[handle] = leak
                } else {
                    used.insert(handle)
                }
            }
        }
        return leaks.values.filter { !used.contains($0.handleID) }.sorted { $0.handleID < $1.handleID }
    }

    private static func judge(
        _ address: IPAddress, _ attribute: IPAMBlock.Attribute, _ handle: String, _ pod: (ObjectKey) -> KubeObject?,
        _ nodeExists: (String) -> Bool
    ) -> Leak? {
        let node = attribute.values["node"]
        let isNodeGone = node.map { !nodeExists($0) } ?? false
        guard let name = attribute.values["pod"], let namespace = attribute.values["namespace"] else {
            // A tunnel's address lives as long as its node; what somebody else asked for is not ours to judge.
            guard attribute.values["type"] != nil, isNodeGone else { return nil }
            return Leak(handleID: handle, pod: nil, node: node, isCertain: true)
        }
        let key = ObjectKey(namespace, name)
        let leak = Leak(handleID: handle, pod: key, node: node, isCertain: isNodeGone)
        guard let pod = pod(key) else { return leak }
        if let node, let current = pod.nodeName, current != node { return leak }
        if isNodeGone { return leak }
        let addresses = pod.podIPs.compactMap { IPAddress($0) }
        // Not reported yet, or its sandbox is still being taken down.
        if addresses.isEmpty { return nil }
        return addresses.contains(address) ? nil : leak
    }
}
