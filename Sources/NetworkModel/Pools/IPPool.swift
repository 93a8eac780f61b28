// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// What addresses of a pool may be used for.
public enum PoolUse: String, Sendable, Hashable, CaseIterable {
    case workload = "Workload"
    case tunnel = "Tunnel"
    case loadBalancer = "LoadBalancer"
}

/// When traffic between nodes is encapsulated: `ipipMode` and `vxlanMode`.
public enum EncapsulationMode: String, Sendable, Hashable, CaseIterable {
    case never = "Never"
    case always = "Always"
    /// Only towards nodes of another subnet.
    case crossSubnet = "CrossSubnet"
}

/// An IPPool as the rest of the model uses it: checked, with its defaults filled in.
public struct IPPool: Sendable, Hashable {
    public var name: String
    /// Without host bits.
    public var cidr: CIDR
    public var blockSize: Int
    public var ipipMode: EncapsulationMode
    public var vxlanMode: EncapsulationMode
    public var natOutgoing: Bool
    public var isDisabled: Bool
    public var isBeingDeleted: Bool
    /// Why the pool's status says that nothing may be allocated from it, if it does.
    public var notAllocatable: String?
    public var nodeSelector: Selector
    /// Nil selects every namespace.
    public var namespaceSelector: Selector?
    public var allowedUses: [PoolUse]
    /// Manual: only for requests that name the pool.
    public var isAutomatic: Bool
    /// Names of pools to use when this one is exhausted, the preferred first: annotation `catbird.dev/fallback-pools`.
    public var fallbackPools: [String] = []

    public static func defaultBlockSize(_ family: IPFamily) -> Int { family == .v4 ? 26 : 122 }
    public static func blockSizes(_ family: IPFamily) -> ClosedRange<Int> { family == .v4 ? 20...32 : 116...128 }

    /// The reason why an object is no usable pool.
    public struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        public let pool: String
        public let reason: String
        public var description: String { "pool \(pool): \(reason)" }
    }

    public init(
        name: String, cidr: CIDR, blockSize: Int? = nil, ipipMode: EncapsulationMode = .never,
        vxlanMode: EncapsulationMode = .never, natOutgoing: Bool = false, isDisabled: Bool = false,
        nodeSelector: Selector = .all, namespaceSelector: Selector? = nil,
        allowedUses: [PoolUse] = [.workload, .tunnel], isAutomatic: Bool = true
    ) {
        self.name = name
        self.cidr = cidr.network
        self.blockSize = blockSize ?? Self.defaultBlockSize(cidr.family)
        self.ipipMode = ipipMode
        self.vxlanMode = vxlanMode
        self.natOutgoing = natOutgoing
        self.isDisabled = isDisabled
        isBeingDeleted = false
        self.nodeSelector = nodeSelector
        self.namespaceSelector = namespaceSelector
        self.allowedUses = allowedUses
        self.isAutomatic = isAutomatic
    }

    /// Reads an IPPool of either API group. Objects that validation would refuse today, but that are there, are used
    /// as far as they make sense.
    public init(_ object: KubeObject) throws(Problem) {
        let spec = object["spec"]
        func problem(_ reason: String) -> Problem { Problem(pool: object.name, reason: reason) }
        guard let text = spec["cidr"].string, let cidr = CIDR(text) else {
            throw problem("spec.cidr \(spec["cidr"] ?? .null) is not a network")
        }
        func selector(_ field: String) throws(Problem) -> Selector? {
            guard let text = spec[field].string, !text.isEmpty else { return nil }
            do { return try Selector(text) } catch { throw problem("spec.\(field): \(error)") }
        }
        self.init(
            name: object.name, cidr: cidr,
            blockSize: spec["blockSize"].int.flatMap { $0 == 0 ? nil : $0 },
            ipipMode: spec["ipipMode"].string.flatMap(EncapsulationMode.init(rawValue:)) ?? .never,
            vxlanMode: spec["vxlanMode"].string.flatMap(EncapsulationMode.init(rawValue:)) ?? .never,
            natOutgoing: spec["natOutgoing"].bool ?? false, isDisabled: spec["disabled"].bool ?? false,
            nodeSelector: try selector("nodeSelector") ?? .all, namespaceSelector: try selector("namespaceSelector"),
            isAutomatic: spec["assignmentMode"].string != "Manual")
        guard Self.blockSizes(cidr.family).contains(blockSize) else {
            throw problem(
                "spec.blockSize \(blockSize) is not a prefix length from \(Self.blockSizes(cidr.family).lowerBound) to \(Self.blockSizes(cidr.family).upperBound)"
            )
        }
        let uses = (spec["allowedUses"].array ?? []).compactMap { $0.string.flatMap(PoolUse.init(rawValue:)) }
        if !uses.isEmpty { allowedUses = uses }
        isBeingDeleted = object.isBeingDeleted
        // Calico's client folds annotations that are not its own into one.
        let folded = object.annotations["projectcalico.org/metadata"].flatMap { try? JSON(parsing: $0) }
        let fallback =
            object.annotations[CalicoKeys.fallbackPools]
            ?? folded?["annotations"][CalicoKeys.fallbackPools].string
        if let fallback { fallbackPools = Self.names(fallback) }
        let allocatable = object["status"]["conditions"].array?.first { $0["type"].string == "Allocatable" }
        if allocatable?["status"].string == "False" {
            notAllocatable = allocatable?["message"].string ?? allocatable?["reason"].string ?? "not allocatable"
        }
    }

    /// The names in `["a","b"]` or `a, b`.
    static func names(_ text: String) -> [String] {
        if let list = (try? JSON(parsing: text))?.array { return list.compactMap(\.string) }
        return text.split(whereSeparator: { $0 == "," || $0 == " " || $0 == "\n" }).map(String.init)
    }

    /// Reads all `objects`: those that are pools by name, and what is wrong with the others.
    public static func read(_ objects: some Sequence<KubeObject>) -> (pools: [IPPool], problems: [Problem]) {
        var pools: [IPPool] = []
        var problems: [Problem] = []
        for object in objects {
            do { pools.append(try IPPool(object)) } catch { problems.append(error) }
        }
        return (pools.sorted { $0.name < $1.name }, problems.sorted { $0.pool < $1.pool })
    }

    /// How many blocks the pool divides into; one for a pool smaller than its block size.
    public var blockCount: UInt128 { UInt128(1) << UInt128(max(0, blockSize - cidr.prefixLength)) }

    /// The block at `index`, nil beyond the last.
    public func block(at index: UInt128) -> CIDR? {
        guard index < blockCount, blockSize >= cidr.prefixLength else { return nil }
        let width = UInt128(cidr.family.bitWidth - blockSize)
        return cidr[index << width].flatMap { CIDR($0, blockSize) }
    }

    /// `zone-east-ippool (192.168.0.0/24)`
    public var label: String { "\(name) (\(cidr))" }
}
