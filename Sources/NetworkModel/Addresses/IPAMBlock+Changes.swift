// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

extension IPAMBlock {
    /// Gives out the free address that has waited longest; nil when the block is full.
    public mutating func allocate(handleID: String, values: [String: String]) -> Int? {
        guard let ordinal = unallocated.first else { return nil }
        return allocate(ordinal: ordinal, handleID: handleID, values: values) ? ordinal : nil
    }

    /// Gives out this address; false when it is in use.
    public mutating func allocate(ordinal: Int, handleID: String, values: [String: String]) -> Bool {
        guard let position = unallocated.firstIndex(of: ordinal) else { return false }
        unallocated.remove(at: position)
        let attribute = Attribute(handleID: handleID, values: values)
        let index: Int
        if let existing = attributes.firstIndex(of: attribute) {
            index = existing
        } else {
            index = attributes.count
            attributes.append(attribute)
        }
        allocations[ordinal] = index
        sequenceNumberForAllocation[String(ordinal)] = sequenceNumber
        return true
    }

    /// The free address that has waited longest and is not reserved, given out; those skipped keep their places.
    public mutating func allocate(
        handleID: String, values: [String: String], avoiding reserved: AddressRanges
    ) -> Int? {
        let free = unallocated.first { ordinal in address(at: ordinal).map { !reserved.contains($0) } ?? false }
        guard let free, allocate(ordinal: free, handleID: handleID, values: values) else { return nil }
        return free
    }

    /// Gives these addresses back: at once free without a cooldown, else in use until it is over.
    ///
    /// - Parameter cooldown: seconds.
    public mutating func release(ordinals: [Int], now: Timestamp, cooldown: Int) {
        guard cooldown > 0 else { return release(ordinals: ordinals) }
        let held = ordinals.filter { attribute(of: $0).map { !$0.isReleased } ?? false }
        guard !held.isEmpty else { return }
        let index = attributes.count
        attributes.append(Attribute(releasedAt: now))
        for ordinal in held {
            allocations[ordinal] = index
            sequenceNumberForAllocation[String(ordinal)] = nil
        }
        dropUnusedAttributes()
    }

    /// Frees the addresses whose cooldown is over. Returns how many; a time that cannot be read is over.
    @discardableResult
    public mutating func freeReleased(now: Timestamp, cooldown: Int) -> Int {
        guard isCoolingDown else { return 0 }
        let over = Set(
            attributes.indices.filter { index in
                guard attributes[index].isReleased, let text = attributes[index].releasedAt else { return false }
                guard let time = Timestamp(text) else { return true }
                return now.seconds(since: time) >= Double(cooldown)
            })
        let ordinals = allocations.indices.filter { allocations[$0].map(over.contains) ?? false }
        release(ordinals: ordinals)
        return ordinals.count
    }

    /// Frees the handle's addresses, which go to the end of the queue. Returns how many there were.
    @discardableResult
    public mutating func release(handleID: String) -> Int {
        let ordinals = ordinals(ofHandle: handleID)
        release(ordinals: ordinals)
        return ordinals.count
    }

    /// Frees these addresses as far as they are in use.
    public mutating func release(ordinals: [Int]) {
        for ordinal in ordinals where allocations.indices.contains(ordinal) && allocations[ordinal] != nil {
            allocations[ordinal] = nil
            unallocated.append(ordinal)
            sequenceNumberForAllocation[String(ordinal)] = nil
        }
        dropUnusedAttributes()
    }

    mutating func dropUnusedAttributes() {
        let used = Set(allocations.compactMap(\.self))
        guard used.count < attributes.count else { return }
        var kept: [Attribute] = []
        var places: [Int: Int] = [:]
        for (index, attribute) in attributes.enumerated() where used.contains(index) {
            places[index] = kept.count
            kept.append(attribute)
        }
        attributes = kept
        allocations = allocations.map { $0.flatMap { places[$0] } }
    }

    /// The object to write: everything that the API holds already, with this block's state and the next sequence number.
    public func encodedForWrite() -> KubeObject {
        var object = object
        var spec = object["spec"] ?? .object([:])
        spec["cidr"] = JSON("\(cidr)")
        spec["affinity"] = affinity.map { JSON($0) }
        spec["affinityClaimTime"] = claimTime.map { JSON($0) }
        spec["strictAffinity"] = spec["strictAffinity"] ?? false
        spec["allocations"] = .array(allocations.map { $0.map { JSON($0) } ?? .null })
        spec["unallocated"] = .array(unallocated.map { JSON($0) })
        spec["attributes"] = .array(attributes.map(\.json))
        spec["sequenceNumber"] = .int(sequenceNumber &+ 1)
        let sequences = sequenceNumberForAllocation.sorted { ($0.key.utf8.count, $0.key) < ($1.key.utf8.count, $1.key) }
        spec["sequenceNumberForAllocation"] = .object(JSONObject(sequences.map { ($0.key, .int($0.value)) }))
        spec["deleted"] = .bool(isDeleted)
        object["spec"] = spec
        return object
    }
}

extension IPAMBlock.Attribute {
    init(json: JSON) {
        handleID = json["handle_id"].string
        values = json["secondary"].object?.strings ?? [:]
        alternateOwner = json["alternateOwnerAttrs"].object?.strings ?? [:]
        releasedAt = json["releasedAt"].string
        others = json.object ?? [:]
        others["alternateOwnerAttrs"] = nil
        others["releasedAt"] = nil
        others["handle_id"] = nil
        others["secondary"] = nil
    }

    var json: JSON {
        var object = JSONObject()
        if let handleID { object["handle_id"] = JSON(handleID) }
        if !values.isEmpty { object["secondary"] = JSON(values) }
        if !alternateOwner.isEmpty { object["alternateOwnerAttrs"] = JSON(alternateOwner) }
        if let releasedAt { object["releasedAt"] = JSON(releasedAt) }
        for (key, value) in others { object[key] = value }
        return .object(object)
    }
}
