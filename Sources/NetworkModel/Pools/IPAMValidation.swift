// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// What must hold of IPAM's other objects before they are stored.
public enum IPAMValidation {
    /// IPAMConfig and IPAMConfiguration.
    public static func config(_ object: KubeObject) -> [FieldError] {
        let spec = object["spec"]
        var errors: [FieldError] = []
        if object.name != "default" {
            errors.append(.invalid("metadata.name", JSON(object.name), "there is one, and its name is default"))
        }
        errors += number(spec, "maxBlocksPerHost", 0...Int(Int32.max))
        errors += number(spec, "ipCooldownSeconds", 0...1200)
        let isStrict = spec["strictAffinity"].bool ?? false
        if !isStrict, spec["autoAllocateBlocks"].bool == false {
            errors.append(
                .invalid(
                    "spec.autoAllocateBlocks", false,
                    "without strictAffinity a node must be able to claim blocks; set strictAffinity to true as well"))
        }
        if let limit = spec["maxBlocksPerHost"].int, limit > 0, !isStrict {
            errors.append(
                .invalid(
                    "spec.maxBlocksPerHost", JSON(limit),
                    "a limit needs strictAffinity: set it to true, or the limit to 0"))
        }
        if let value = spec["kubeVirtVMAddressPersistence"], !value.isNull,
            !["Enabled", "Disabled"].contains(value.string ?? "")
        {
            errors.append(.notSupported("spec.kubeVirtVMAddressPersistence", value, ["Enabled", "Disabled"]))
        }
        return errors
    }

    public static func reservation(_ object: KubeObject) -> [FieldError] {
        var errors: [FieldError] = []
        var seen: Set<String> = []
        for (index, value) in (object["spec"]["reservedCIDRs"].array ?? []).enumerated() {
            let field = "spec.reservedCIDRs[\(index)]"
            guard let text = value.string, let cidr = CIDR(text) ?? IPAddress(text).map({ CIDR(host: $0) }) else {
                errors.append(.invalid(field, value, "it is neither a network such as 192.168.2.0/29 nor an address"))
                continue
            }
            if cidr.hasHostBits { errors.append(.invalid(field, value, "host bits are set; write \(cidr.network)")) }
            if !seen.insert("\(cidr.network)").inserted { errors.append(.duplicate(field, value)) }
        }
        return errors
    }

    public static func affinity(_ object: KubeObject) -> [FieldError] {
        let spec = object["spec"]
        var errors = network(spec)
        if spec["node"].string.map(\.isEmpty) ?? true { errors.append(.required("spec.node", "who claims the block")) }
        let states = ["", "pending", "confirmed", "pendingDeletion"]
        if let value = spec["state"], !value.isNull, !states.contains(value.string ?? "-") {
            errors.append(.notSupported("spec.state", value, Array(states.dropFirst())))
        }
        if let value = spec["type"], !value.isNull, !["", "host", "virtual"].contains(value.string ?? "-") {
            errors.append(.notSupported("spec.type", value, ["host", "virtual"]))
        }
        if errors.isEmpty, let node = spec["node"].string, let cidr = spec["cidr"].string.flatMap({ CIDR($0) }) {
            errors += named(object, IPAMNames.affinity(node: node, cidr), "the claim of \(node) to \(cidr)")
        }
        return errors
    }

    /// A handle: that its name is the one by which it is found, and that it counts addresses of blocks.
    public static func handle(_ object: KubeObject) -> [FieldError] {
        let spec = object["spec"]
        guard let handleID = spec["handleID"].string, !handleID.isEmpty else {
            return [.required("spec.handleID", "whose addresses it counts")]
        }
        var errors = named(object, IPAMNames.handle(handleID), "the handle \(handleID)")
        for (key, value) in spec["block"].object ?? [:] {
            let field = "spec.block[\(key)]"
            guard let cidr = CIDR(key), !cidr.hasHostBits else {
                errors.append(.invalid(field, JSON(key), "the key is the network of a block, such as 10.244.0.0/26"))
                continue
            }
            let size = min(cidr.family.bitWidth - cidr.prefixLength, 12)
            if let count = value.int, !(0...(1 << size)).contains(count) {
                errors.append(.invalid(field, value, "it counts addresses of the block: 0 to \(1 << size)"))
            }
        }
        return errors
    }

    /// Whoever looks an object up by what it is about finds it by its name alone.
    private static func named(_ object: KubeObject, _ name: String, _ subject: String) -> [FieldError] {
        object.name == name
            ? [] : [.invalid("metadata.name", JSON(object.name), "\(subject) is looked for under the name \(name)")]
    }

    /// A block: that its lists agree. `others` are the networks of all blocks; overlapping one of another size is what
    /// gives an address twice.
    /// A block that is there keeps its network.
    public static func block(
        _ object: KubeObject, old: KubeObject? = nil, others: some Sequence<CIDR>
    ) -> [FieldError] {
        let errors = network(object["spec"])
        guard errors.isEmpty else { return errors }
        if let old = old?["spec"]["cidr"], let new = object["spec"]["cidr"], old != new {
            return [.invalid("spec.cidr", new, "a block keeps its network, \(old.text())")]
        }
        do {
            let block = try IPAMBlock(object)
            guard IPPool.blockSizes(block.cidr.family).contains(block.cidr.prefixLength) else {
                let sizes = IPPool.blockSizes(block.cidr.family)
                return [
                    .invalid(
                        "spec.cidr", JSON("\(block.cidr)"),
                        "a block is of the size /\(sizes.lowerBound) to /\(sizes.upperBound)")
                ]
            }
            let problems = named(object, IPAMNames.block(block.cidr), "block \(block.cidr)")
            guard problems.isEmpty else { return problems }
            if let clash = others.first(where: { $0 != block.cidr && $0.overlaps(block.cidr) }) {
                return [
                    .invalid(
                        "spec.cidr", JSON("\(block.cidr)"),
                        "it overlaps block \(clash): an address would be given twice; drain that one first with catbird ipam migrate"
                    )
                ]
            }
            return []
        } catch {
            return [.invalid("spec", .string(object.name), error.reason)]
        }
    }

    /// A new pool over blocks of another size: their addresses would be given twice.
    public static func newPool(_ object: KubeObject, blocks: some Sequence<CIDR>) -> [FieldError] {
        guard let pool = try? IPPool(object),
            let clash = blocks.first(where: { $0.prefixLength != pool.blockSize && $0.overlaps(pool.cidr) })
        else { return [] }
        return [
            .invalid(
                "spec.cidr", JSON("\(pool.cidr)"),
                "block \(clash) of an earlier pool is still there, and is not of the size /\(pool.blockSize): set spec.blockSize to \(clash.prefixLength), or wait until its pods are gone (catbird explain ip \(clash.first))"
            )
        ]
    }

    private static func network(_ spec: JSON?) -> [FieldError] {
        guard let value = spec["cidr"], value.string != "" else {
            return [.required("spec.cidr", "the block's network")]
        }
        guard let cidr = value.string.flatMap({ CIDR($0) }) else {
            return [.invalid("spec.cidr", value, "it is not a network such as 10.244.0.0/26")]
        }
        return cidr.hasHostBits ? [.invalid("spec.cidr", value, "host bits are set; write \(cidr.network)")] : []
    }

    private static func number(_ spec: JSON?, _ field: String, _ range: ClosedRange<Int>) -> [FieldError] {
        guard let value = spec[field], !value.isNull else { return [] }
        guard let number = value.int, range.contains(number) else {
            return [.invalid("spec.\(field)", value, "it must be from \(range.lowerBound) to \(range.upperBound)")]
        }
        return []
    }
}
