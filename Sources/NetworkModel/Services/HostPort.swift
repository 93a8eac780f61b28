// SPDX-License-Identifier: Apache-2.0

public import Values

/// A port of the node that leads to a pod of it: what runtimes pass to CNI plugins as `portMappings`.
public struct HostPort: Sendable, Hashable {
    /// The address of the node that it is open at; nil is all of the pod's family.
    public let hostAddress: IPAddress?
    public let port: Int
    public let transport: ServicePort.TransportProtocol
    public let pod: IPAddress
    public let podPort: Int

    public init(
        hostAddress: IPAddress?, port: Int, transport: ServicePort.TransportProtocol, pod: IPAddress, podPort: Int
    ) {
        self.hostAddress = hostAddress
        self.port = port
        self.transport = transport
        self.pod = pod
        self.podPort = podPort
    }

    /// Why mappings cannot be carried out.
    public struct Problem: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// The mappings of a runtime for a sandbox with these addresses: each leads to the sandbox's address of the family
    /// of its `hostIP`, or of each family where it has none.
    public static func read(_ mappings: JSON?, _ addresses: [IPAddress]) throws(Problem) -> [HostPort] {
        guard let mappings, !mappings.isNull else { return [] }
        guard let list = mappings.array else {
            throw Problem(description: "portMappings is \(mappings), which is no list")
        }
        var result: [HostPort] = []
        for (index, mapping) in list.enumerated() {
            // A port that is not asked for.
            guard let number = mapping["hostPort"].int, number != 0 else { continue }
            let name = mapping["protocol"].string ?? "tcp"
            guard let transport = ServicePort.TransportProtocol(rawValue: name.lowercased()) else {
                throw Problem(description: "portMappings[\(index)].protocol is \"\(name)\": tcp, udp or sctp is wanted")
            }
            guard let inside = mapping["containerPort"].int, (1...65535).contains(number), (1...65535).contains(inside)
            else {
                throw Problem(description: "portMappings[\(index)] is \(mapping), which names no ports from 1 to 65535")
            }
            let text = mapping["hostIP"].string ?? ""
            guard text.isEmpty || IPAddress(text) != nil else {
                throw Problem(description: "portMappings[\(index)].hostIP is \"\(text)\", which is no address")
            }
            let asked = IPAddress(text)
            // 0.0.0.0 and :: are all addresses of their family.
            let host = asked.flatMap { $0.bits == 0 ? nil : $0 }
            for family in IPFamily.allCases where asked == nil || asked?.family == family {
                guard let pod = addresses.first(where: { $0.family == family }) else { continue }
                result.append(
                    HostPort(hostAddress: host, port: number, transport: transport, pod: pod, podPort: inside))
            }
        }
        return result
    }

    /// Whether both cannot be open at once.
    public func conflicts(with other: HostPort) -> Bool {
        pod.family == other.pod.family && port == other.port && transport == other.transport
            && AskedHostPort.overlap(hostAddress, other.hostAddress)
    }

    public var name: String { "\(hostAddress.map { "\($0):" } ?? "")\(port)/\(transport.rawValue)" }
}

extension HostPort {
    /// For what is kept on disk.
    public var json: JSON {
        var json: JSON = [
            "port": JSON(port), "transport": JSON(transport.rawValue), "pod": .string("\(pod)"),
            "podPort": JSON(podPort),
        ]
        if let hostAddress { json["hostAddress"] = .string("\(hostAddress)") }
        return json
    }

    public init?(_ json: JSON) {
        guard let port = json["port"].int, let podPort = json["podPort"].int,
            let transport = json["transport"].string.flatMap(ServicePort.TransportProtocol.init(rawValue:)),
            let pod = json["pod"].string.flatMap({ IPAddress($0) })
        else { return nil }
        self.init(
            hostAddress: json["hostAddress"].string.flatMap { IPAddress($0) }, port: port, transport: transport,
            pod: pod, podPort: podPort)
    }
}
