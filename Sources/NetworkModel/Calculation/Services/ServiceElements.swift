// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// The elements by which one Service is served on a node: the one place where that is decided.
enum ServiceElements {
    typealias Elements = [ServiceElement: ServiceElement.Value]

    /// - Parameters:
    ///   - ports: of one Service and one family, reached by admissible addresses.
    ///   - number: a port's number, whose lower four bits are empty.
    static func of(_ ports: [ServicePort], node: String, number: (ServicePort) -> UInt32) -> Elements {
        var result: Elements = [:]
        for port in ports { add(port, number(port), node, to: &result) }
        return result
    }

    private static func add(_ port: ServicePort, _ number: UInt32, _ node: String, to result: inout Elements) {
        guard let front = UInt16(exactly: port.port) else { return }
        let policy = port.policy
        for address in port.clusterIPs {
            result[.front(address, port.transport, front)] = .mark(
                policy.isInternalLocal ? number | ServiceElement.Flag.local : number)
        }
        for address in port.clusterIPs + port.balancerIPs { result[.address(address)] = .nothing }
        let outside = number | ServiceElement.Flag.external | (policy.isExternalLocal ? ServiceElement.Flag.split : 0)
        for address in port.externalIPs {
            let isRanged = port.balancerIPs.contains(address) && !policy.sourceRanges.isEmpty
            result[.front(address, port.transport, front)] = .mark(
                isRanged ? outside | ServiceElement.Flag.ranged : outside)
            guard isRanged else { continue }
            for range in policy.sourceRanges {
                result[.sourceRange(address, port.transport, front, range)] = .nothing
            }
        }
        if let nodePort = port.nodePort.flatMap({ UInt16(exactly: $0) }) {
            result[.nodeFront(port.transport, nodePort)] = .mark(outside)
        }
        let all = port.endpoints
        let isReachedOutside = !port.externalIPs.isEmpty || port.nodePort != nil
        var chosen: Set<ServicePort.Endpoint> = []
        if !policy.isInternalLocal || isReachedOutside {
            group(number, all, isSilent: false, policy, to: &result)
            chosen.formUnion(all)
        }
        if policy.isInternalLocal || policy.isExternalLocal && isReachedOutside {
            let local = port.endpoints(on: node)
            group(number | ServiceElement.Flag.local, local, isSilent: !all.isEmpty, policy, to: &result)
            chosen.formUnion(local)
        }
        for candidate in port.candidates where candidate.node == nil || candidate.node == node {
            guard chosen.contains(candidate.endpoint) else { continue }
            result[.hairpin(candidate.endpoint.address)] = .nothing
        }
    }

    /// - Parameter isSilent: without endpoints it is not refused but dropped, since there are some elsewhere.
    private static func group(
        _ mark: UInt32, _ endpoints: [ServicePort.Endpoint], isSilent: Bool, _ policy: ServicePolicy,
        to result: inout Elements
    ) {
        func value(_ endpoint: ServicePort.Endpoint) -> ServiceElement.Value {
            .endpoint(endpoint.address, UInt16(truncatingIfNeeded: endpoint.port))
        }
        if let seconds = policy.affinitySeconds { result[.sticky(mark, seconds: seconds)] = .nothing }
        switch endpoints.count {
        case 0: result[isSilent ? .silent(mark) : .unserved(mark)] = .nothing
        case 1: result[.endpoint(mark)] = value(endpoints[0])
        default:
            let count = SlotTable.count(endpoints.count)
            for (slot, index) in SlotTable.assign(endpoints, count).enumerated() {
                result[.slot(mark, UInt16(truncatingIfNeeded: slot), of: count)] = value(endpoints[index])
            }
        }
    }
}

/// Which endpoint has which slot: each as many as any other but one, and most the same after an endpoint came or went.
enum SlotTable {
    /// At least four slots for each endpoint, so that none has a quarter more than another; beyond 1,024 endpoints less, and
    /// beyond 4,096 some have none.
    static func count(_ endpoints: Int) -> UInt16 {
        ServiceElement.slotCounts.first { Int($0) >= 4 * endpoints } ?? 4096
    }

    /// For each slot the index of an endpoint: of those that have room the one with the highest weight, which follows from
    /// the slot and the endpoint alone (rendezvous hashing with bounded loads).
    static func assign(_ endpoints: [ServicePort.Endpoint], _ slots: UInt16) -> [Int] {
        let seeds = endpoints.map { endpoint in
            mix(
                UInt64(truncatingIfNeeded: endpoint.address.bits)
                    ^ mix(
                        UInt64(truncatingIfNeeded: endpoint.address.bits >> 64) ^ UInt64(
                            truncatingIfNeeded: endpoint.port)
                            << 32))
        }
        let share = Int(slots) / endpoints.count
        var spare = Int(slots) % endpoints.count
        var loads = [Int](repeating: 0, count: endpoints.count)
        return (0..<slots).map { slot in
            let salt = UInt64(slot) &* 0x9E37_79B9_7F4A_7C15
            var best = 0
            var weight: UInt64?
            for (index, seed) in seeds.enumerated() where loads[index] < share || loads[index] == share && spare > 0 {
                let candidate = mix(seed ^ salt)
                if weight.map({ candidate > $0 }) ?? true { (best, weight) = (index, candidate) }
            }
            if loads[best] == share { spare -= 1 }
            loads[best] += 1
            return best
        }
    }

    /// Sebastiano Vigna's splitmix64, whose output bits each depend on all bits of the input.
    static func mix(_ value: UInt64) -> UInt64 {
        var value = value &+ 0x9E37_79B9_7F4A_7C15
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
