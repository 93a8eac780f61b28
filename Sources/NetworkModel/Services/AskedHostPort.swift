// SPDX-License-Identifier: Apache-2.0

public import Values

/// A port of the node as a pod's spec asks for it, before the pod has an address.
///
/// The rule is Kubernetes': the ports of containers, and of those init containers that run for as long as the pod
/// (`restartPolicy: Always`); without `hostIP`, or with 0.0.0.0, a port is taken at all addresses of the node. `::` is, as
/// the kernel has it, all addresses of IPv6.
public struct AskedHostPort: Sendable, Hashable {
    /// Nil is all addresses of the node.
    public let hostAddress: IPAddress?
    public let port: Int
    public let transport: ServicePort.TransportProtocol

    public init(hostAddress: IPAddress?, port: Int, transport: ServicePort.TransportProtocol) {
        self.hostAddress = hostAddress
        self.port = port
        self.transport = transport
    }

    /// What the `spec` of a pod asks for. A `hostIP` or `protocol` that the API would refuse is read as none.
    public static func asked(by spec: JSON?) -> [AskedHostPort] {
        let sidecars = (spec["initContainers"].array ?? []).filter { $0["restartPolicy"].string == "Always" }
        return ((spec["containers"].array ?? []) + sidecars).flatMap { $0["ports"].array ?? [] }.compactMap { port in
            guard let number = port["hostPort"].int, number > 0 else { return nil }
            let address = port["hostIP"].string.flatMap { IPAddress($0) }
            let transport = port["protocol"].string.flatMap {
                ServicePort.TransportProtocol(rawValue: $0.lowercased())
            }
            return AskedHostPort(
                hostAddress: address.flatMap { $0.family == .v4 && $0.bits == 0 ? nil : $0 }, port: number,
                transport: transport ?? .tcp)
        }
    }

    /// Whether both cannot be open at once.
    public func conflicts(with other: AskedHostPort) -> Bool {
        port == other.port && transport == other.transport && Self.overlap(hostAddress, other.hostAddress)
    }

    /// Whether two places where a port is open have an address in common.
    static func overlap(_ left: IPAddress?, _ right: IPAddress?) -> Bool {
        guard let left, let right else { return true }
        return left == right || left.family == right.family && (left.bits == 0 || right.bits == 0)
    }
}
