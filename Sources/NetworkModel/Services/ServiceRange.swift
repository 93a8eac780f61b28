// SPDX-License-Identifier: Apache-2.0

public import Values

/// Which address of the service networks, and which node port, a Service may have: who decides is told what is taken.
///
/// As in Kubernetes, the first and the last address of a network are nobody's, and what is not asked for by number comes
/// from away of the low addresses that people ask for.
public struct ServiceRange: Sendable {
    /// The networks that addresses come from, in the order in which they are tried.
    public let networks: [CIDR]
    /// The ports that Services may have of the node's.
    public let nodePorts: ClosedRange<Int>

    public init(networks: [CIDR], nodePorts: ClosedRange<Int>) {
        self.networks = networks
        self.nodePorts = nodePorts
    }

    /// Why an address that is asked for cannot be had, in Kubernetes' words; nil when it can.
    public func problem(_ wanted: IPAddress, isTaken: (IPAddress) -> Bool) -> String? {
        let around = networks.filter { $0.contains(wanted) }
        guard let range = around.first else { return "the provided network does not match the current range" }
        guard around.contains(where: { wanted != $0.first && wanted != $0.last }) else {
            return "the provided IP (\(wanted)) is not in the valid range. The range of valid IPs is \(range)"
        }
        return isTaken(wanted) ? "provided IP is already allocated" : nil
    }

    /// Some address that is free; nil when there is none.
    public func freeAddress(
        using random: inout some RandomNumberGenerator, isTaken: (IPAddress) -> Bool
    ) -> IPAddress? {
        for network in networks {
            if let address = Self.freeAddress(network, &random, isTaken) { return address }
        }
        return nil
    }

    /// At most so many addresses of one network are tried.
    private static let attempts: UInt128 = 1 << 20

    private static func freeAddress(
        _ network: CIDR, _ random: inout some RandomNumberGenerator, _ isTaken: (IPAddress) -> Bool
    ) -> IPAddress? {
        let size = network.count
        guard size > 4 else { return nil }
        let reserved = min(max(size / 16, 16), 256)
        for low in [reserved < size - 1 ? reserved : 1, 1] {
            let span = size - 1 - low
            let start = UInt128(UInt64.random(in: 0..<UInt64(min(span, UInt128(UInt64.max))), using: &random))
            var step: UInt128 = 0
            while step < min(span, attempts) {
                if let candidate = network[low + (start + step) % span], !isTaken(candidate) { return candidate }
                step += 1
            }
        }
        return nil
    }

    /// Why a port that is asked for cannot be had, in Kubernetes' words; nil when it can.
    public func problem(port: Int, isTaken: (Int) -> Bool) -> String? {
        guard nodePorts.contains(port) else {
            return "provided port is not in the valid range. The range of valid ports is "
                + "\(nodePorts.lowerBound)-\(nodePorts.upperBound)"
        }
        return isTaken(port) ? "provided port is already allocated" : nil
    }

    /// Some port that is free; nil when there is none.
    public func freePort(using random: inout some RandomNumberGenerator, isTaken: (Int) -> Bool) -> Int? {
        let start = Int.random(in: nodePorts, using: &random) - nodePorts.lowerBound
        return (0..<nodePorts.count).lazy.map { nodePorts.lowerBound + (start + $0) % nodePorts.count }
            .first { !isTaken($0) }
    }
}
