// SPDX-License-Identifier: Apache-2.0
public import Values

/// What the things on the machine are called, so that they are found again by name alone.
public struct FabricNames: Sendable, Hashable {
    public let profile: ProfileName
    public let runDirectory: String
    public let stateDirectory: String

    public init(
        profile: ProfileName, runDirectory: String = "/run/catbird", stateDirectory: String = "/var/lib/catbird"
    ) {
        self.profile = profile
        self.runDirectory = runDirectory
        self.stateDirectory = stateDirectory
    }

    /// What every link of Catbird's on the host begins with.
    public static let linkPrefix = "catb-"

    /// The host's end of the uplink; a link name has at most 15 bytes, so a long profile name is cut and hashed.
    public var hostLink: String {
        let bytes = profile.text.utf8
        if bytes.count <= 10 { return Self.linkPrefix + profile.text }
        let hash = bytes.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
        let digits = Hex.text([
            UInt8(truncatingIfNeeded: hash >> 16), UInt8(truncatingIfNeeded: hash >> 8),
            UInt8(truncatingIfNeeded: hash),
        ])
        let start = String(decoding: bytes.prefix(4), as: UTF8.self)
        return "\(Self.linkPrefix)\(start)\(digits)"
    }

    /// Also on every link, whatever its name.
    public var linkAlias: String { "catbird profile \(profile)" }
    public var table: String { "catbird-\(profile)" }
    public var runFolder: String { "\(runDirectory)/\(profile)" }
    public var fabricNamespace: String { "\(runFolder)/fabric/ns/net" }
    public var changedSettings: String { "\(runFolder)/fabric/settings.json" }
    public var nodesFolder: String { "\(runFolder)/nodes" }
    public var nodesStateFolder: String { "\(stateDirectory)/\(profile)/nodes" }
    public var cgroup: String { "/catbird/\(profile)" }

    /// The fabric's end of a node's cable.
    public static func port(_ address: IPAddress) -> String { "node\(Hex.text(address.bytes))" }

    /// A locally administered address that tells the node's: the same after every start.
    public static func mac(_ address: IPAddress) -> MACAddress? { MACAddress(bytes: [0x02, 0xCB] + address.bytes) }
}
