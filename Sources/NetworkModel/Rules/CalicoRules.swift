// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Values

/// What must hold of Calico's objects before they are stored, beyond their schemas: the rules that Calico writes in CEL,
/// and those that its own readers find out too late. The API server and calicoctl ask the same functions.
///
/// Pools, which are judged beside all other pools, have ``IPPoolValidation``.
public enum CalicoRules {
    /// - Parameters:
    ///   - resource: where the object is stored: `bgppeers`, in either of Calico's groups.
    ///   - old: what the object replaces. Whatever was let in before these rules can still be changed elsewhere than in
    ///     its spec.
    /// - Returns: nothing for a resource of another group.
    public static func problems(
        _ resource: GroupVersionResource, _ object: KubeObject, old: KubeObject? = nil
    ) -> [FieldError] {
        guard ["crd.projectcalico.org", "projectcalico.org"].contains(resource.group) else { return [] }
        if let old, old["spec"] == object["spec"] { return [] }
        let spec = SpecReader(object["spec"], "spec")
        switch resource.resource {
        case "ipreservations": return IPAMValidation.reservation(object)
        case "ipamconfigs", "ipamconfigurations": return IPAMValidation.config(object)
        case "blockaffinities": return IPAMValidation.affinity(object)
        case "ipamhandles": return IPAMValidation.handle(object)
        case "bgpconfigurations": return named(object, old, perNode: true) + BGPRules.configuration(object, spec)
        case "bgppeers": return BGPRules.peer(spec)
        case "bgpfilters": return BGPRules.filter(object)
        case "felixconfigurations": return named(object, old, perNode: true) + FelixRules.configuration(spec)
        case "clusterinformations": return named(object, old)
        case "kubecontrollersconfigurations": return named(object, old) + FelixRules.controllers(object["spec"])
        case "globalnetworkpolicies", "networkpolicies", "stagedglobalnetworkpolicies", "stagednetworkpolicies":
            return PolicyRules.policy(object["spec"])
        case "globalnetworksets", "networksets": return PolicyRules.networkSet(spec)
        case "hostendpoints": return PolicyRules.hostEndpoint(object["spec"])
        case "tiers": return PolicyRules.tier(spec)
        case "caliconodestatuses": return FelixRules.nodeStatus(spec)
        default: return []
        }
    }

    /// Kinds with one object, `default`, and with `perNode` one for each node, `node.NAME`.
    private static func named(_ object: KubeObject, _ old: KubeObject?, perNode: Bool = false) -> [FieldError] {
        guard old == nil, object.name != "default", !(perNode && object.name.hasPrefix("node.")) else { return [] }
        let names = perNode ? "default, or node.NAME for a node" : "default"
        return [.invalid("metadata.name", JSON(object.name), "nothing reads an object of this name: use \(names)")]
    }
}

/// Reads members of an object and collects what is wrong with them. What is of another type than the schema wants is
/// left to the schema.
struct SpecReader {
    let json: JSON?
    let path: String
    private(set) var errors: [FieldError] = []

    init(_ json: JSON?, _ path: String) {
        self.json = json
        self.path = path
    }

    func at(_ field: String) -> String { "\(path).\(field)" }

    /// A text that is not empty.
    func text(_ field: String) -> String? { json[field].string.flatMap { $0.isEmpty ? nil : $0 } }

    mutating func refuse(_ field: String, _ detail: String) {
        errors.append(.invalid(at(field), json[field] ?? .null, detail))
    }

    mutating func add(_ more: [FieldError]) { errors += more }

    /// Two fields of which one at most is set.
    mutating func exclusive(_ one: String, _ other: String) {
        guard text(one) != nil, text(other) != nil else { return }
        refuse(one, "\(other) is set as well: keep one of the two")
    }

    mutating func number(_ field: String, _ range: ClosedRange<Int>) {
        guard let number = json[field].int, !range.contains(number) else { return }
        refuse(field, "\(range.lowerBound) to \(range.upperBound) are possible")
    }

    /// Go's form of a duration.
    mutating func duration(_ field: String) {
        guard let text = text(field), !Self.isDuration(text) else { return }
        refuse(field, "a duration such as 30s, 5m or 1h30m is wanted")
    }

    /// 1 to 4095 whole seconds: what BGP's messages have room for.
    mutating func restartTime(_ field: String) {
        guard let text = text(field), RestartTime.seconds(text) == nil else { return }
        refuse(field, "1s to 4095s are possible, in whole seconds")
    }

    mutating func address(_ field: String, _ family: IPFamily? = nil) {
        guard let text = text(field) else { return }
        guard let address = IPAddress(text) else {
            return refuse(field, "an \(family?.rawValue ?? "IP") address is wanted")
        }
        if let family, address.family != family { refuse(field, "an \(family.rawValue) address is wanted") }
    }

    /// A list of networks, or of single addresses too.
    mutating func networks(_ field: String, alsoAddresses: Bool = true) {
        for (index, value) in (json[field].array ?? []).enumerated() {
            guard let text = value.string else { continue }
            if CIDR(text) != nil || alsoAddresses && IPAddress(text) != nil { continue }
            let wanted = alsoAddresses ? "a network such as 10.0.0.0/8, or an address," : "a network such as 10.0.0.0/8"
            errors.append(.invalid("\(at(field))[\(index)]", value, "\(wanted) is wanted"))
        }
    }

    mutating func selector(_ field: String, allowsGlobal: Bool = false) {
        guard let text = text(field) else { return }
        if let error = SelectorRules.problem(at(field), text, allowsGlobal: allowsGlobal) { errors.append(error) }
    }

    /// Sequences of a number with a unit: `1h30m`, `1.5s`, `300ms`; `0` alone.
    private static func isDuration(_ text: String) -> Bool {
        if text == "0" { return true }
        var rest = text.utf8[...]
        if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
        guard !rest.isEmpty else { return false }
        let isDigit = { (byte: UInt8) in (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
        while !rest.isEmpty {
            let number = rest.prefix { isDigit($0) || $0 == UInt8(ascii: ".") }
            guard number.contains(where: isDigit), number.count(where: { $0 == UInt8(ascii: ".") }) <= 1 else {
                return false
            }
            rest = rest[number.endIndex...]
            let unit = rest.prefix { !isDigit($0) && $0 != UInt8(ascii: ".") }
            guard ["ns", "us", "µs", "ms", "s", "m", "h"].contains(String(decoding: unit, as: UTF8.self)) else {
                return false
            }
            rest = rest[unit.endIndex...]
        }
        return true
    }
}

/// What must hold of a selector, wherever one stands.
enum SelectorRules {
    static let maximumLength = 1024

    static func problem(
        _ path: String, _ text: String, allowsGlobal: Bool = false, example: String = "zone == \"east\"",
        global: String = "global() has no meaning here; all() selects everything"
    ) -> FieldError? {
        guard text.utf8.count <= maximumLength else {
            return .invalid(
                path, JSON(String(text.prefix(40)) + "..."), "it is longer than \(maximumLength) characters")
        }
        do throws(SelectorError) {
            return try Selector(text).usesGlobal && !allowsGlobal ? .invalid(path, JSON(text), global) : nil
        } catch {
            return .invalid(
                path, JSON(text), "\(error.reason) at character \(error.offset + 1); a selector looks like \(example)")
        }
    }
}
