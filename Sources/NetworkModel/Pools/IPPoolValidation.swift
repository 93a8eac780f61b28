// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Values

/// What must hold of an IPPool before it is stored, through whichever API group and client it comes.
public enum IPPoolValidation {
    /// - Parameters:
    ///   - pool: the object to be stored, with its defaults or without.
    ///   - existing: all pools; one of the same name is taken for the object itself.
    ///   - old: what `pool` replaces, on an update.
    public static func validate(_ pool: KubeObject, existing: [KubeObject], old: KubeObject?) -> [FieldError] {
        let spec = pool["spec"]
        var errors: [FieldError] = []
        if let old { errors += immutability(spec, old["spec"]) }
        let others = otherNetworks(pool, existing)
        let (cidr, cidrErrors) = network(pool, old, others)
        errors += cidrErrors
        if let cidr { errors += sizes(spec, cidr) }
        errors += encapsulation(spec, cidr)
        errors += selectors(spec)
        errors += uses(spec)
        return errors
    }

    /// What is said of a pool that is accepted: with host bits its network is meant, as Calico takes it.
    public static func warnings(_ pool: KubeObject) -> [String] {
        guard let cidr = pool["spec"]["cidr"].string.flatMap({ CIDR($0) }), cidr.hasHostBits else { return [] }
        return ["spec.cidr \(cidr) has host bits set: the pool is the network \(cidr.network)"]
    }

    private typealias Other = (name: String, cidr: CIDR, isDisabled: Bool)

    private static func otherNetworks(_ pool: KubeObject, _ existing: [KubeObject]) -> [Other] {
        var seen: Set<String> = [pool.name]
        return existing.sorted { $0.name < $1.name }.compactMap { other in
            guard seen.insert(other.name).inserted, let cidr = other["spec"]["cidr"].string.flatMap({ CIDR($0) })
            else { return nil }
            return (other.name, cidr.network, other["spec"]["disabled"].bool ?? false)
        }
    }

    private static func network(
        _ pool: KubeObject, _ old: KubeObject?, _ others: [Other]
    ) -> (CIDR?, [FieldError]) {
        let field = "spec.cidr"
        guard let value = pool["spec"]["cidr"], value.string != "" else {
            return (nil, [.required(field, "the pool's network, for example 192.168.0.0/24")])
        }
        guard let text = value.string, let cidr = CIDR(text) else {
            let reason =
                value.string.flatMap { IPAddress($0) }.map {
                    "a prefix length is missing: \($0) alone is \(CIDR(host: $0))"
                }
                ?? "it is not a network such as 192.168.0.0/24"
            return (nil, [.invalid(field, value, reason)])
        }
        // A pool that is there keeps its network, whatever was let in before these rules.
        if old?["spec"]["cidr"].string.flatMap({ CIDR($0) })?.network == cidr.network { return (cidr, []) }
        let used = others.map(\.cidr)
        let free = FreeRange.suggestion(like: cidr, avoiding: used)
        let clash = others.first { $0.cidr.overlaps(cidr) }
        var errors: [FieldError] = []
        if let clash {
            let network = cidr.network
            let subject =
                cidr.hasHostBits
                ? "the address has host bits set: the /\(cidr.prefixLength) network that holds it is \(network), which"
                : "it"
            let relation =
                clash.cidr == network ? "is the network of" : clash.cidr.contains(network) ? "lies inside" : "overlaps"
            errors.append(
                .invalid(field, value, "\(subject) \(relation) pool \(named(clash)); \(advice(free, cidr))"))
        }
        for reserved in ["169.254.0.0/16", "fe80::/10"].compactMap({ CIDR($0) }) where reserved.overlaps(cidr) {
            errors.append(
                .invalid(
                    field, value,
                    "it overlaps the link-local range \(reserved), which no pool may use; \(advice(free, cidr))"))
        }
        return (cidr, errors)
    }

    private static func named(_ other: Other) -> String {
        "\(other.name) (\(other.cidr)\(other.isDisabled ? ", disabled" : ""))"
    }

    private static func advice(_ free: CIDR?, _ cidr: CIDR) -> String {
        free.map { "\($0) is free and of the same size" } ?? "no private range of size /\(cidr.prefixLength) is free"
    }

    private static func sizes(_ spec: JSON?, _ cidr: CIDR) -> [FieldError] {
        let field = "spec.blockSize"
        if let value = spec["blockSize"], !value.isNull, value.int == nil {
            return [.invalid(field, value, "the block size is a prefix length, a number")]
        }
        let given = spec["blockSize"].int.flatMap { $0 == 0 ? nil : $0 }
        let size = given ?? IPPool.defaultBlockSize(cidr.family)
        let allowed = IPPool.blockSizes(cidr.family)
        guard allowed.contains(size) else {
            return [
                .invalid(
                    field, JSON(size),
                    "the block size of an \(cidr.family.rawValue) pool is a prefix length from \(allowed.lowerBound) to \(allowed.upperBound)"
                )
            ]
        }
        guard cidr.prefixLength > size, !(spec["disabled"].bool ?? false) else { return [] }
        let larger =
            allowed.contains(cidr.prefixLength) ? "set spec.blockSize to \(cidr.prefixLength) or more, or " : ""
        return [
            .invalid(
                "spec.cidr", JSON("\(cidr)"),
                "it is smaller than one block of /\(size)\(given == nil ? " (the default block size)" : ""): \(larger)take a network of /\(size) or larger"
            )
        ]
    }

    private static func encapsulation(_ spec: JSON?, _ cidr: CIDR?) -> [FieldError] {
        var errors: [FieldError] = []
        var enabled: [String] = []
        for field in ["ipipMode", "vxlanMode"] {
            guard let value = spec[field], !value.isNull, value.string != "" else { continue }
            guard let mode = value.string.flatMap(EncapsulationMode.init(rawValue:)) else {
                errors.append(.notSupported("spec.\(field)", value, EncapsulationMode.allCases.map(\.rawValue)))
                continue
            }
            if mode != .never { enabled.append(field) }
        }
        if enabled.count == 2 {
            errors.append(
                .invalid(
                    "spec.ipipMode", spec["ipipMode"] ?? .null,
                    "ipipMode and vxlanMode (\(spec["vxlanMode"].string ?? "")) are both on; set one of them to Never"))
        }
        if cidr?.family == .v6, enabled.contains("ipipMode") {
            errors.append(
                .invalid(
                    "spec.ipipMode", spec["ipipMode"] ?? .null,
                    "IP in IP carries IPv4 only; use vxlanMode for an IPv6 pool"))
        }
        return errors
    }

    private static func selectors(_ spec: JSON?) -> [FieldError] {
        var errors: [FieldError] = []
        for (field, example) in [
            ("nodeSelector", "zone == \"east\""), ("namespaceSelector", "projectcalico.org/name == \"web\""),
        ] {
            guard let text = spec[field].string, !text.isEmpty else { continue }
            let problem = SelectorRules.problem(
                "spec.\(field)", text, example: example,
                global: "global() has no meaning in a pool; all() selects everything")
            if let problem { errors.append(problem) }
        }
        return errors
    }

    private static func uses(_ spec: JSON?) -> [FieldError] {
        guard let list = spec["allowedUses"].array, !list.isEmpty else { return [] }
        var errors: [FieldError] = []
        var uses: [PoolUse] = []
        for (index, value) in list.enumerated() {
            guard let use = value.string.flatMap(PoolUse.init(rawValue:)) else {
                errors.append(.notSupported("spec.allowedUses[\(index)]", value, PoolUse.allCases.map(\.rawValue)))
                continue
            }
            if uses.contains(use) { errors.append(.duplicate("spec.allowedUses[\(index)]", value)) }
            uses.append(use)
        }
        if uses.contains(.tunnel), let selector = spec["namespaceSelector"].string, !selector.isEmpty {
            errors.append(
                .invalid(
                    "spec.namespaceSelector", JSON(selector),
                    "tunnel addresses belong to no namespace; take Tunnel out of allowedUses"))
        }
        guard uses.contains(.loadBalancer) else { return errors }
        let field = "spec.allowedUses"
        let value = JSON.array(list)
        if uses.contains(.workload) || uses.contains(.tunnel) {
            errors.append(
                .invalid(
                    field, value, "LoadBalancer cannot be combined with Workload or Tunnel: make a pool of its own"))
        }
        for mode in ["ipipMode", "vxlanMode"] {
            if let text = spec[mode].string, !text.isEmpty, text != "Never" {
                errors.append(
                    .invalid("spec.\(mode)", JSON(text), "a LoadBalancer pool has no encapsulation; set Never"))
            }
        }
        if spec["disableBGPExport"].bool == true {
            errors.append(.invalid("spec.disableBGPExport", true, "a LoadBalancer pool must be exported"))
        }
        if let selector = spec["nodeSelector"].string, !selector.isEmpty, selector != "all()" {
            errors.append(
                .invalid("spec.nodeSelector", JSON(selector), "a LoadBalancer pool belongs to all nodes; set all()"))
        }
        return errors
    }

    private static func immutability(_ spec: JSON?, _ old: JSON?) -> [FieldError] {
        var errors: [FieldError] = []
        let before = old["cidr"].string.flatMap { CIDR($0) }
        let after = spec["cidr"].string.flatMap { CIDR($0) }
        if let before, let after, before.network != after.network {
            errors.append(
                .invalid(
                    "spec.cidr", JSON("\(after)"),
                    "the network of a pool cannot be changed (it is \(before)): create another pool, then delete this one"
                ))
        }
        func size(_ spec: JSON?) -> Int {
            spec["blockSize"].int.flatMap { $0 == 0 ? nil : $0 } ?? IPPool.defaultBlockSize(before?.family ?? .v4)
        }
        if size(spec) != size(old) {
            errors.append(
                .invalid(
                    "spec.blockSize", JSON(size(spec)),
                    "the block size of a pool cannot be changed (it is \(size(old))): create another pool, then delete this one"
                ))
        }
        let wasForServices = old["allowedUses"].array?.contains("LoadBalancer") ?? false
        let isForServices = spec["allowedUses"].array?.contains("LoadBalancer") ?? false
        if wasForServices, !isForServices {
            errors.append(
                .invalid(
                    "spec.allowedUses", spec["allowedUses"] ?? .null,
                    "a LoadBalancer pool cannot be turned to other uses"))
        }
        return errors
    }
}
