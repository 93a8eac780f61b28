// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import KubeClient
import KubeObjects
import Values

/// `"subnet": "usePodCidr"` and `"usePodCidrIPv6"` in the configuration of host-local, as Calico has them: the networks
/// that Kubernetes gave the node.
enum PodCIDRs {
    private static let words = ["usePodCidr": IPFamily.v4, "usePodCidrIPv6": .v6]

    /// The call with the node's networks in place of the words; the API is asked only where one is used.
    static func filled(_ call: PluginCall, _ client: () throws -> KubeClient) async throws -> PluginCall {
        var ipam = call.configuration.json["ipam"] ?? [:]
        let wanted = subnets(ipam).compactMap { words[$0] }
        guard !wanted.isEmpty else { return call }
        let name = try NodeName.find(call.configuration)
        let node = try await client().get(.nodes, name)
        let texts =
            node["spec"]["podCIDRs"].array?.compactMap(\.string) ?? [node["spec"]["podCIDR"].string].compactMap(\.self)
        let networks = texts.compactMap { CIDR($0) }
        for (word, family) in words where wanted.contains(family) {
            guard let network = networks.first(where: { $0.family == family }) else {
                throw CNIError(
                    .tryAgainLater, "ipam asks for \(word), and node \(name) has no such network",
                    details: "its spec.podCIDRs is \(texts); set one with --cluster-cidr of the controller manager")
            }
            ipam = replaced(ipam, word, "\(network)")
        }
        var json = call.configuration.json
        json["ipam"] = ipam
        return PluginCall(call.parameters, try NetworkConfiguration(json), call.netns)
    }

    private static func subnets(_ ipam: JSON) -> [String] {
        let ranges = (ipam["ranges"].array ?? []).flatMap { $0.array ?? [] }
        return ([ipam] + ranges).compactMap { $0["subnet"].string }
    }

    private static func replaced(_ ipam: JSON, _ word: String, _ network: String) -> JSON {
        var ipam = ipam
        if ipam["subnet"].string == word { ipam["subnet"] = JSON(network) }
        if let ranges = ipam["ranges"].array {
            ipam["ranges"] = .array(
                ranges.map { set in
                    .array(
                        (set.array ?? []).map { range in
                            var range = range
                            if range["subnet"].string == word { range["subnet"] = JSON(network) }
                            return range
                        })
                })
        }
        return ipam
    }
}
