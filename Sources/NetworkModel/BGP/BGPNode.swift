// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// A node as a BGP speaker.
public struct BGPNode: Sendable, Hashable {
    public var name: String
    /// Nil takes the cluster's.
    public var asNumber: UInt32?
    /// Of a route reflector (RFC 4456): annotation `projectcalico.org/RouteReflectorClusterID`.
    public var clusterID: IPAddress?
    public var addresses: [IPFamily: CIDR]
    public var labels: [String: String]

    public init(
        name: String, asNumber: UInt32? = nil, clusterID: IPAddress? = nil, addresses: [IPFamily: CIDR],
        labels: [String: String] = [:]
    ) {
        self.name = name
        self.asNumber = asNumber
        self.clusterID = clusterID
        self.addresses = addresses
        self.labels = labels
    }

    /// Nil for a node without an address.
    public init?(_ object: KubeObject) {
        guard let network = NodeNetwork(object) else { return nil }
        self.init(
            name: object.name, asNumber: object.annotations["projectcalico.org/ASNumber"].flatMap { ASNumber.read($0) },
            clusterID: object.annotations["projectcalico.org/RouteReflectorClusterID"].flatMap { IPAddress($0) }
                .flatMap { $0.family == .v4 ? $0 : nil },
            addresses: network.endpoints.mapValues(\.address), labels: object.labels)
    }
}

/// A BGPPeer.
public struct BGPPeer: Sendable, Hashable {
    public enum Target: Sendable, Hashable {
        case address(IPAddress, port: Int?)
        case nodes(Selector)
    }

    public var name: String
    /// Nil selects every node.
    public var node: String?
    public var nodeSelector: Selector?
    public var target: Target
    public var asNumber: UInt32?
    public var localASNumber: UInt32?
    public var filters: [String] = []
    public var password: SecretKey?
    public var usesNodeAddress = true
    public var keepsNextHop = false
    public var setsNextHop = false
    public var restartTime: Int?
    public var keepaliveTime: Int?
    /// Hops to the peer at most (RFC 5082); 1 to 255.
    public var ttlSecurity: Int?
    public var allowedOwnASNumbers: Int?
    /// The gateway that leads to the peer.
    public var reachableBy: IPAddress?
    public var isReversed = true

    public init(name: String, node: String? = nil, nodeSelector: Selector? = nil, target: Target) {
        self.name = name
        self.node = node
        self.nodeSelector = nodeSelector
        self.target = target
    }

    public init(_ object: KubeObject) throws(IPAMObjectProblem) {
        let spec = object["spec"]
        func problem(_ field: String, _ value: String, _ reason: String) -> IPAMObjectProblem {
            IPAMObjectProblem(object: "BGPPeer \(object.name)", reason: "spec.\(field): \"\(value)\": \(reason)")
        }
        func text(_ field: String) -> String? { spec[field].string.flatMap { $0.isEmpty ? nil : $0 } }
        func selector(_ field: String) throws(IPAMObjectProblem) -> Selector? {
            guard let text = text(field) else { return nil }
            do { return try Selector(text) } catch { throw problem(field, text, "\(error)") }
        }
        if let text = text("peerIP") {
            guard let (address, port) = Self.address(text) else {
                throw problem("peerIP", text, "an address is wanted, as 10.0.0.1, 10.0.0.1:1790 or [fd00::1]:1790")
            }
            target = .address(address, port: port)
        } else if let peers = try selector("peerSelector") {
            target = .nodes(peers)
        } else if let text = text("localWorkloadSelector") {
            throw problem("localWorkloadSelector", text, "Catbird's nodes do not peer with pods of their own")
        } else {
            throw problem("peerIP", "", "it says with whom: give peerIP or peerSelector")
        }
        name = object.name
        node = text("node")
        nodeSelector = try selector("nodeSelector")
        if let value = spec["asNumber"], value.int != 0 {
            guard let number = ASNumber.read(value) else { throw problem("asNumber", value.text(), "no AS number") }
            asNumber = number
        }
        if case .address = target, asNumber == nil {
            throw problem("asNumber", "", "the peer's AS number is wanted beside peerIP")
        }
        if let value = spec["localASNumber"], value.int != 0 {
            guard let number = ASNumber.read(value) else {
                throw problem("localASNumber", value.text(), "no AS number")
            }
            localASNumber = number
        }
        filters = (spec["filters"].array ?? []).compactMap(\.string)
        password = SecretKey(spec["password"])
        usesNodeAddress = spec["sourceAddress"].string != "None"
        keepsNextHop = spec["keepOriginalNextHop"].bool == true || spec["nextHopMode"].string == "Keep"
        setsNextHop = spec["nextHopMode"].string == "Self"
        if let text = text("maxRestartTime") {
            restartTime = RestartTime.seconds(text)
            if restartTime == nil { throw problem("maxRestartTime", text, "1s to 4095s are possible") }
        }
        if let text = text("keepaliveTime") {
            keepaliveTime = RestartTime.seconds(text)
            if keepaliveTime == nil { throw problem("keepaliveTime", text, "1s to 4095s are possible") }
        }
        if let hops = spec["ttlSecurity"].int, hops != 0 {
            guard (1...255).contains(hops) else { throw problem("ttlSecurity", "\(hops)", "1 to 255 are possible") }
            ttlSecurity = hops
        }
        if let count = spec["numAllowedLocalASNumbers"].int, count > 0 { allowedOwnASNumbers = min(count, 255) }
        if let text = text("reachableBy") {
            guard let address = IPAddress(text) else { throw problem("reachableBy", text, "no address") }
            reachableBy = address
        }
        isReversed = spec["reversePeering"].string != "Manual"
    }

    /// `10.0.0.1`, `10.0.0.1:1790`, `fd00::1` or `[fd00::1]:1790`.
    static func address(_ text: String) -> (IPAddress, Int?)? {
        if let address = IPAddress(text) { return (address, nil) }
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (1...65535).contains(port)
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return IPAddress(host).map { ($0, port) }
    }

    /// Whether the node opens the sessions that the object asks for.
    public func selects(_ other: BGPNode) -> Bool {
        if let node { return node == other.name }
        return nodeSelector?.matches(other.labels) ?? true
    }

    /// Calico's word for it in `calicoctl node status`.
    var isGlobal: Bool { node == nil && nodeSelector == nil }
}
