// SPDX-License-Identifier: Apache-2.0

import Values

/// A port of the node that a pod asks for.
struct NodePort: Hashable, Sendable {
    private static let everywhere: Set<String> = ["", "0.0.0.0", "::"]

    let address: String
    let port: Int
    let transport: String

    /// Those of a pod's containers; of pods on the node's network they are the containers' own.
    static func asked(by spec: JSON?) -> [NodePort] {
        ["containers", "initContainers"].flatMap { list -> [NodePort] in
            (spec[list].array ?? []).filter { list == "containers" || $0["restartPolicy"].string == "Always" }
                .flatMap { $0["ports"].array ?? [] }
                .compactMap { port in
                    guard let number = port["hostPort"].int, number > 0 else { return nil }
                    return NodePort(
                        address: port["hostIP"].string ?? "", port: number,
                        transport: port["protocol"].string ?? "TCP")
                }
        }
    }

    func conflicts(with other: NodePort) -> Bool {
        port == other.port && transport == other.transport
            && (address == other.address || Self.everywhere.contains(address)
                || Self.everywhere.contains(other.address))
    }
}
