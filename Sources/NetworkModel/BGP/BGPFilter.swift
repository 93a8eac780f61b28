// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// The rules of a BGPFilter, as conditions and actions of BIRD's filter language.
public struct BGPFilter: Sendable, Hashable {
    public struct Rule: Sendable, Hashable {
        /// Nil is true for all routes.
        var conditions: [String]
        var changes: [String]
        var accepts: Bool
        /// Only for sessions inside (true) or outside (false) of the AS.
        var isInternal: Bool?

        func text(isInternal session: Bool) -> String? {
            if let isInternal, isInternal != session { return nil }
            let action = (changes + [accepts ? "accept;" : "reject;"]).joined(separator: " ")
            return conditions.isEmpty
                ? action : "if \(conditions.map { "(\($0))" }.joined(separator: " && ")) then { \(action) }"
        }
    }

    public let name: String
    public private(set) var imports: [IPFamily: [Rule]] = [:]
    public private(set) var exports: [IPFamily: [Rule]] = [:]

    /// Throws for the first rule that cannot be read: a filter without one of its rules lets through what it must not.
    public init(_ object: KubeObject) throws(IPAMObjectProblem) {
        name = object.name
        for family in IPFamily.allCases {
            let suffix = family == .v4 ? "V4" : "V6"
            imports[family] = try Self.rules(object, "import\(suffix)", family)
            exports[family] = try Self.rules(object, "export\(suffix)", family)
        }
    }

    private static func rules(
        _ object: KubeObject, _ field: String, _ family: IPFamily
    ) throws(IPAMObjectProblem) -> [Rule] {
        var rules: [Rule] = []
        for (index, spec) in (object["spec"][field].array ?? []).enumerated() {
            let place = "spec.\(field)[\(index)]"
            do { rules.append(try rule(spec, family)) } catch {
                throw IPAMObjectProblem(object: "BGPFilter \(object.name)", reason: "\(place).\(error.description)")
            }
        }
        return rules
    }

    private struct Problem: Error, CustomStringConvertible {
        let field: String
        let value: JSON?
        let reason: String
        init(_ field: String, _ value: JSON?, _ reason: String) {
            self.field = field
            self.value = value
            self.reason = reason
        }
        var description: String { "\(field): \(value?.text() ?? "not set"): \(reason)" }
    }

    /// What is wrong with a rule before it is stored: the first thing that cannot be translated, and what would have no
    /// effect.
    static func problems(_ spec: JSON, _ family: IPFamily, at place: String) -> [FieldError] {
        var errors: [FieldError] = []
        do throws(Problem) { _ = try rule(spec, family) } catch {
            let field = "\(place).\(error.field)"
            errors.append(
                error.value.map { .invalid(field, $0, error.reason) } ?? .required(field, error.reason))
        }
        if spec["matchOperator"].string != nil, (spec["cidr"].string ?? "").isEmpty {
            errors.append(.required("\(place).cidr", "matchOperator compares with it"))
        }
        if !(spec["operations"].array ?? []).isEmpty, spec["action"].string != "Accept" {
            errors.append(.forbidden("\(place).operations", "only routes that a rule accepts are changed"))
        }
        return errors
    }

    private static func rule(_ spec: JSON, _ family: IPFamily) throws(Problem) -> Rule {
        var rule = Rule(conditions: [], changes: [], accepts: false, isInternal: nil)
        switch spec["action"].string {
        case "Accept": rule.accepts = true
        case "Reject": break
        default: throw Problem("action", spec["action"], "Accept or Reject are possible")
        }
        if let text = spec["cidr"].string, !text.isEmpty {
            guard let cidr = CIDR(text), cidr.family == family else {
                throw Problem("cidr", spec["cidr"], "a network of IP\(family.rawValue) is wanted")
            }
            rule.conditions.append(try network(cidr.network, spec))
        } else if spec["prefixLength"].object != nil {
            throw Problem("prefixLength", spec["prefixLength"], "it needs a cidr")
        }
        if let source = spec["source"].string, !source.isEmpty {
            guard source == "RemotePeers" else { throw Problem("source", JSON(source), "RemotePeers is possible") }
            rule.conditions.append("source = RTS_BGP")
        }
        if let interface = spec["interface"].string, !interface.isEmpty {
            guard BGPText.isInterfacePattern(interface) else {
                throw Problem("interface", JSON(interface), "an interface's name, with * and ?, is wanted")
            }
            rule.conditions.append("defined(ifname) && ifname ~ \"\(interface)\"")
        }
        switch spec["peerType"].string {
        case nil: break
        case "iBGP": rule.isInternal = true
        case "eBGP": rule.isInternal = false
        default: throw Problem("peerType", spec["peerType"], "iBGP or eBGP are possible")
        }
        if let path = spec["asPathPrefix"].array, !path.isEmpty {
            let numbers = path.compactMap { ASNumber.read($0) }
            guard numbers.count == path.count else { throw Problem("asPathPrefix", .array(path), "no AS numbers") }
            rule.conditions.append("bgp_path ~ [= \(numbers.map { "\($0)" }.joined(separator: " ")) * =]")
        }
        for value in spec["communities"]["values"].array ?? [] {
            rule.conditions.append("\(try community(value).0) ~ \(try community(value).1)")
        }
        if let priority = spec["priority"] {
            rule.conditions.append("defined(krt_metric) && krt_metric = \(try metric("priority", priority))")
        }
        for operation in spec["operations"].array ?? [] { rule.changes += try changes(operation) }
        return rule
    }

    private static func network(_ cidr: CIDR, _ spec: JSON) throws(Problem) -> String {
        let lengths = spec["prefixLength"]
        let widest = cidr.family.bitWidth
        var range: String?
        if lengths.object != nil {
            let low = lengths["min"].int ?? cidr.prefixLength
            let high = lengths["max"].int ?? widest
            guard (0...widest).contains(low), (low...widest).contains(high) else {
                throw Problem("prefixLength", lengths, "min and max are of 0 to \(widest), min first")
            }
            // BIRD's pattern has nothing shorter than its own prefix, and needs an order.
            range = "[ \(cidr){\(max(low, cidr.prefixLength)),\(max(high, cidr.prefixLength))} ]"
        }
        switch spec["matchOperator"].string {
        case "Equal": return "net = \(cidr)"
        case "NotEqual": return "net != \(cidr)"
        case "In": return "net ~ \(range ?? "[ \(cidr)+ ]")"
        case "NotIn": return "net !~ \(range ?? "[ \(cidr)+ ]")"
        default:
            throw Problem("matchOperator", spec["matchOperator"], "Equal, NotEqual, In or NotIn is wanted beside cidr")
        }
    }

    private static func community(_ value: JSON) throws(Problem) -> (String, String) {
        guard let community = value.string.flatMap({ BGPCommunity($0) }) else {
            throw Problem("communities", value, "65000:1 or 65000:1:2 is wanted")
        }
        return (community.literal, community.attribute)
    }

    private static func metric(_ field: String, _ value: JSON) throws(Problem) -> Int {
        guard let number = value.int, (1...2_147_483_646).contains(number) else {
            throw Problem(field, value, "1 to 2147483646 are possible")
        }
        return number
    }

    private static func changes(_ operation: JSON) throws(Problem) -> [String] {
        var changes: [String] = []
        if let value = operation["addCommunity"]["value"] {
            let (literal, attribute) = try community(value)
            changes.append("\(attribute).add(\(literal));")
        }
        if let path = operation["prependASPath"]["prefix"].array {
            let numbers = path.compactMap { ASNumber.read($0) }
            guard numbers.count == path.count else { throw Problem("operations", operation, "no AS numbers") }
            // The last one prepended is the first of the path.
            changes += numbers.reversed().map { "bgp_path.prepend(\($0));" }
        }
        if let value = operation["setPriority"]["value"] {
            changes.append("krt_metric = \(try metric("operations", value));")
        }
        return changes
    }
}
