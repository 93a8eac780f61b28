// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// BGPConfiguration `default`, with what `node.NAME` says for one node (its log level only, as Calico has it).
public struct BGPSettings: Sendable, Hashable {
    /// A prefix of own routes and the communities that are added to them.
    public struct Advertisement: Sendable, Hashable {
        public var cidr: CIDR
        public var communities: [BGPCommunity]
    }

    /// 64512, the first private number (RFC 6996), unless the object has another.
    public var asNumber: UInt32 = 64512
    /// Whether every node that is no route reflector peers with every other one.
    public var hasMesh = true
    public var meshPassword: SecretKey?
    /// Seconds that peers keep a restarted node's routes (RFC 4724); 1 to 4095.
    public var meshRestartTime: Int?
    public var listenPort = 179
    /// Listen on the node's address alone.
    public var bindsNodeAddress = false
    public var serviceNetworks: [CIDR] = []
    public var advertisements: [Advertisement] = []
    public var ignoredInterfaces: [String] = []
    /// BIRD's classes of messages, the least important one that is written.
    public var logLevel = "info"
    public var problems: [String] = []

    /// What Calico does without the object.
    public init() {}

    public init(_ object: KubeObject?, node: KubeObject? = nil) {
        guard let spec = object?["spec"] else { return }
        let name = "BGPConfiguration \(object?.name ?? "")"
        if let value = spec["asNumber"] {
            if let number = ASNumber.read(value) { asNumber = number } else { refuse("\(name): spec.asNumber", value) }
        }
        hasMesh = spec["nodeToNodeMeshEnabled"].bool ?? true
        meshPassword = SecretKey(spec["nodeMeshPassword"])
        if let text = spec["nodeMeshMaxRestartTime"].string {
            meshRestartTime = RestartTime.seconds(text)
            if meshRestartTime == nil { refuse("\(name): spec.nodeMeshMaxRestartTime", JSON(text)) }
        }
        if let port = spec["listenPort"].int, (1...65535).contains(port) { listenPort = port }
        bindsNodeAddress = spec["bindMode"].string == "NodeIP"
        for field in ["serviceClusterIPs", "serviceExternalIPs", "serviceLoadBalancerIPs"] {
            for item in spec[field].array ?? [] {
                let text = item["cidr"].string ?? ""
                guard let cidr = CIDR(text) else {
                    refuse("\(name): spec.\(field).cidr", JSON(text))
                    continue
                }
                serviceNetworks.append(cidr.network)
            }
        }
        var named: [String: BGPCommunity] = [:]
        for item in spec["communities"].array ?? [] {
            guard let name = item["name"].string, let value = item["value"].string.flatMap({ BGPCommunity($0) }) else {
                continue
            }
            named[name] = value
        }
        for item in spec["prefixAdvertisements"].array ?? [] {
            guard let cidr = item["cidr"].string.flatMap({ CIDR($0) }) else { continue }
            var communities: [BGPCommunity] = []
            for text in (item["communities"].array ?? []).compactMap(\.string) {
                if let community = BGPCommunity(text) ?? named[text] {
                    communities.append(community)
                } else {
                    refuse("\(name): spec.prefixAdvertisements.communities", JSON(text))
                }
            }
            advertisements.append(Advertisement(cidr: cidr.network, communities: communities))
        }
        for pattern in (spec["ignoredInterfaces"].array ?? []).compactMap(\.string) {
            if BGPText.isInterfacePattern(pattern) {
                ignoredInterfaces.append(pattern)
            } else {
                refuse("\(name): spec.ignoredInterfaces", JSON(pattern))
            }
        }
        logLevel = (node?["spec"]["logSeverityScreen"].string ?? spec["logSeverityScreen"].string ?? "Info")
            .lowercased()
    }

    private mutating func refuse(_ field: String, _ value: JSON) {
        problems.append("\(field): \(value.text()) cannot be used, and is left out")
    }
}

/// A key of a Secret in the namespace of calico-node.
public struct SecretKey: Sendable, Hashable {
    public let secret: String
    public let key: String

    public init(secret: String, key: String) {
        self.secret = secret
        self.key = key
    }

    /// From `{secretKeyRef: {name, key}}`.
    init?(_ password: JSON?) {
        guard let reference = password["secretKeyRef"], let secret = reference["name"].string,
            let key = reference["key"].string, !secret.isEmpty, !key.isEmpty
        else { return nil }
        self.init(secret: secret, key: key)
    }
}

/// A community (RFC 1997, `65000:100`) or a large one (RFC 8092, `65000:1:2`).
public struct BGPCommunity: Sendable, Hashable {
    public let parts: [UInt32]

    public init?(_ text: String) {
        let fields = text.split(separator: ":", omittingEmptySubsequences: false)
        let numbers = fields.compactMap { $0.allSatisfy(\.isASCIIDigit) ? UInt32($0) : nil }
        guard numbers.count == fields.count else { return nil }
        switch numbers.count {
        case 2: guard numbers.allSatisfy({ $0 <= 65535 }) else { return nil }
        case 3: break
        default: return nil
        }
        parts = numbers
    }

    var literal: String { "(\(parts.map { "\($0)" }.joined(separator: ",")))" }
    var attribute: String { parts.count == 2 ? "bgp_community" : "bgp_large_community" }
}

/// Numbers of autonomous systems: `64512`, or `1.10` for 65546 (RFC 5396).
public enum ASNumber {
    public static func read(_ value: JSON?) -> UInt32? {
        if let number = value.int { return number > 0 ? UInt32(exactly: number) : nil }
        return value.string.flatMap { read($0) }
    }

    public static func read(_ text: String) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(\.isASCIIDigit) }) else { return nil }
        switch parts.count {
        case 1: return UInt32(text).flatMap { $0 > 0 ? $0 : nil }
        case 2:
            guard let high = UInt16(parts[0]), let low = UInt16(parts[1]), high > 0 || low > 0 else { return nil }
            return UInt32(high) << 16 | UInt32(low)
        default: return nil
        }
    }
}

enum RestartTime {
    /// Whole seconds of Go's durations with one or more units (`1m30s`); nil outside 1 to 4095, the protocol's field.
    static func seconds(_ text: String) -> Int? {
        var total = 0
        var number: Int?
        for character in text {
            if let digit = character.isASCIIDigit ? character.wholeNumberValue : nil {
                number = (number ?? 0) * 10 + digit
                guard (number ?? 0) <= 100_000 else { return nil }
            } else {
                guard let value = number, let factor = ["s": 1, "m": 60, "h": 3600][character] else { return nil }
                total += value * factor
                number = nil
            }
        }
        return number == nil && (1...4095).contains(total) ? total : nil
    }
}

/// What of outside may stand in BIRD's configuration.
enum BGPText {
    /// Names of interfaces, with `*` and `?`.
    static func isInterfacePattern(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 15
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "."),
                    UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "@"):
                    true
                default: false
                }
            }
    }

    /// BIRD's texts have no escapes: what would end one cannot stand in it.
    static func isPassword(_ text: String) -> Bool {
        (1...80).contains(text.utf8.count) && text.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != 0x22 }
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}
