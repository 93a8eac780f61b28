// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// Why an IPAM object cannot be used.
public struct IPAMObjectProblem: Error, Sendable, Hashable, CustomStringConvertible {
    public let object: String
    public let reason: String
    public var description: String { "\(object): \(reason)" }
}

/// An IPAMBlock: a range of addresses and who holds each, in Calico's stored shape.
public struct IPAMBlock: Sendable, Hashable {
    /// Who holds addresses: shared by all ordinals that were given to the same handle with the same attributes.
    public struct Attribute: Sendable, Hashable {
        public var handleID: String?
        public var values: [String: String]
        /// Who takes the address over when its holder moves (KubeVirt): kept as it is stored.
        public var alternateOwner: [String: String]
        /// When the address was given back; it stays in use until its cooldown is over.
        public var releasedAt: String?
        /// Members that Catbird does not set itself, kept as they are.
        var others: JSONObject

        public init(handleID: String?, values: [String: String]) {
            self.handleID = handleID
            self.values = values
            alternateOwner = [:]
            others = [:]
        }

        init(releasedAt: Timestamp) {
            self.init(handleID: nil, values: [:])
            self.releasedAt = releasedAt.nano
        }

        /// Given back, and waiting.
        public var isReleased: Bool { releasedAt != nil && handleID == nil }
    }

    /// As read or last written: carries the resourceVersion to compare and the fields not modelled here.
    public var object: KubeObject
    public let cidr: CIDR
    /// `host:<node>` or `virtual:<name>`, nil when nobody owns the block.
    public var affinity: String?
    public var claimTime: String?
    /// For each address of the block an index into `attributes`, nil when it is free.
    public internal(set) var allocations: [Int?]
    /// Free ordinals in the order in which they will be given out.
    public internal(set) var unallocated: [Int]
    public internal(set) var attributes: [Attribute]
    public internal(set) var sequenceNumber: Int64
    public internal(set) var sequenceNumberForAllocation: [String: Int64]
    public var isDeleted: Bool

    /// A new, empty block that belongs to `node`.
    public init(_ cidr: CIDR, node: String?, now: Timestamp) {
        self.init(cidr, owner: node.map { .host($0) }, now: now)
    }

    /// A new, empty block.
    public init(_ cidr: CIDR, owner: AffinityOwner?, now: Timestamp) {
        let cidr = cidr.network
        let count = 1 << min(12, max(0, cidr.hostBits))
        self.cidr = cidr
        object = KubeObject(.ipamBlocks, kind: "IPAMBlock", name: IPAMNames.block(cidr))
        affinity = owner?.description
        claimTime = owner == nil ? nil : now.description
        allocations = Array(repeating: nil, count: count)
        unallocated = Array(0..<count)
        attributes = []
        sequenceNumber = now.seconds &* 1_000_000_000 &+ Int64(now.nanoseconds)
        sequenceNumberForAllocation = [:]
        isDeleted = false
    }

    public init(_ object: KubeObject) throws(IPAMObjectProblem) {
        let spec = object["spec"]
        func problem(_ reason: String) -> IPAMObjectProblem {
            IPAMObjectProblem(object: "IPAMBlock \(object.name)", reason: reason)
        }
        guard let text = spec["cidr"].string, let cidr = CIDR(text), !cidr.hasHostBits, cidr.hostBits <= 12 else {
            throw problem("spec.cidr \(spec["cidr"] ?? .null) is not the network of a block")
        }
        let count = 1 << cidr.hostBits
        let attributes = (spec["attributes"].array ?? []).map(Attribute.init(json:))
        let allocations = (spec["allocations"].array ?? []).map(\.int)
        guard allocations.count == count else {
            throw problem("spec.allocations has \(allocations.count) elements, and \(cidr) has \(count) addresses")
        }
        guard allocations.allSatisfy({ $0.map(attributes.indices.contains) ?? true }) else {
            throw problem("spec.allocations points outside of spec.attributes")
        }
        let unallocated = (spec["unallocated"].array ?? []).compactMap(\.int)
        guard unallocated.allSatisfy({ allocations.indices.contains($0) && allocations[$0] == nil }),
            Set(unallocated).count == unallocated.count
        else { throw problem("spec.unallocated lists an address that is in use or not of the block") }
        self.object = object
        self.cidr = cidr
        self.attributes = attributes
        self.allocations = allocations
        self.unallocated = unallocated
        affinity = spec["affinity"].string.flatMap { $0.isEmpty ? nil : $0 }
        claimTime = spec["affinityClaimTime"].string
        sequenceNumber = Int64(spec["sequenceNumber"].int ?? 0)
        sequenceNumberForAllocation = [:]
        for (key, value) in spec["sequenceNumberForAllocation"].object ?? [:] {
            if let number = value.int { sequenceNumberForAllocation[key] = Int64(number) }
        }
        isDeleted = spec["deleted"].bool ?? false
    }

    public var name: String { IPAMNames.block(cidr) }
    /// The node that owns the block.
    public var node: String? { affinity.flatMap { $0.hasPrefix("host:") ? String($0.dropFirst(5)) : nil } }
    public var owner: AffinityOwner? { affinity.flatMap { AffinityOwner($0) } }
    /// Some of its addresses wait for their cooldown to end.
    public var isCoolingDown: Bool { attributes.contains(where: \.isReleased) }
    public var isEmpty: Bool { allocations.allSatisfy { $0 == nil } }
    public var usedCount: Int { allocations.count { $0 != nil } }
    public var freeCount: Int { unallocated.count }

    public func address(at ordinal: Int) -> IPAddress? { cidr[UInt128(max(0, ordinal))] }

    public func ordinal(of address: IPAddress) -> Int? {
        cidr.contains(address) ? Int(address.bits - cidr.first.bits) : nil
    }

    public func attribute(of ordinal: Int) -> Attribute? {
        guard allocations.indices.contains(ordinal), let index = allocations[ordinal] else { return nil }
        return attributes[index]
    }

    /// The ordinals that a handle holds, lowest first.
    public func ordinals(ofHandle handleID: String) -> [Int] {
        let indices = Set(attributes.indices.filter { attributes[$0].handleID == handleID })
        guard !indices.isEmpty else { return [] }
        return allocations.indices.filter { allocations[$0].map(indices.contains) ?? false }
    }

    /// All addresses in use, with who holds them.
    public var assignments: [(address: IPAddress, attribute: Attribute)] {
        allocations.indices.compactMap { ordinal in
            guard let index = allocations[ordinal], let address = address(at: ordinal) else { return nil }
            return (address, attributes[index])
        }
    }
}
