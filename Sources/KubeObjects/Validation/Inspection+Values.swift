// SPDX-License-Identifier: Apache-2.0

import Values

/// Rules that fields of many kinds share. A missing value passes unless a rule says otherwise.
extension Inspection {
    /// Goes through the elements of a list with the path of each.
    mutating func each(_ list: JSON?, _ field: String, _ body: (inout Inspection, JSON, String) -> Void) {
        for (index, element) in (list.array ?? []).enumerated() { body(&self, element, "\(field)[\(index)]") }
    }

    /// The same for texts; what is no text was refused before.
    mutating func eachText(_ list: JSON?, _ field: String, _ body: (inout Inspection, String, String) -> Void) {
        each(list, field) { inspection, element, path in
            if let text = element.string { body(&inspection, text, path) }
        }
    }

    /// Goes through the members of a map; the path names the key in brackets.
    mutating func eachMember(
        _ map: JSON?, _ field: String, _ body: (inout Inspection, String, JSON, String) -> Void
    ) {
        for (key, value) in map.object ?? [:] { body(&self, key, value, "\(field)[\(key)]") }
    }

    /// A text in the syntax of a rule.
    mutating func text(_ value: JSON?, _ field: String, _ problems: (String) -> [String]) {
        guard let text = value.string, !text.isEmpty else { return }
        invalid(field, JSON(text), problems(text))
    }

    /// A text that must be there, in the syntax of a rule.
    mutating func requireText(_ value: JSON?, _ field: String, _ problems: (String) -> [String]) {
        guard let text = requireText(value, field) else { return }
        invalid(field, JSON(text), problems(text))
    }

    /// Texts that may not stand twice in a list.
    mutating func unique(_ value: JSON?, _ field: String, _ seen: inout Set<String>) {
        guard let text = value.string, !text.isEmpty else { return }
        if !seen.insert(text).inserted { report(.duplicate(field, JSON(text))) }
    }

    mutating func address(_ value: JSON?, _ field: String) {
        let text = value.string ?? ""
        if IPAddress(text) == nil { report(.invalid(field, JSON(text), AddressRules.noAddress)) }
    }

    mutating func network(_ value: JSON?, _ field: String) {
        let text = value.string ?? ""
        if CIDR(text) == nil { report(.invalid(field, JSON(text), AddressRules.noNetwork)) }
    }

    /// A port's number; a missing one is 0, which is none.
    mutating func port(_ value: JSON?, _ field: String) {
        let number = value.int ?? 0
        invalid(field, JSON(number), Names.portProblems(number))
    }

    /// A port's number or the name of a container's port.
    mutating func portOrName(_ value: JSON?, _ field: String) {
        if let name = value.string {
            invalid(field, JSON(name), Names.portNameProblems(name))
        } else {
            port(value, field)
        }
    }

    mutating func within(_ range: ClosedRange<Int>, _ value: JSON?, _ field: String) {
        guard let number = value.int, !range.contains(number) else { return }
        report(
            .invalid(
                field, JSON(number), "must be between \(range.lowerBound) and \(range.upperBound), inclusive"))
    }

    /// A number above zero.
    mutating func positive(_ value: JSON?, _ field: String, _ detail: String = "must be greater than 0") {
        guard let number = value.int, number <= 0 else { return }
        report(.invalid(field, JSON(number), detail))
    }

    /// A text of at most so many bytes.
    mutating func atMost(_ bytes: Int, _ value: JSON?, _ field: String) {
        guard let text = value.string, text.utf8.count > bytes else { return }
        report(FieldError(.tooLong, field, detail: "may not be more than \(bytes) bytes"))
    }

    /// A list of at most so many elements; whether it is.
    @discardableResult
    mutating func atMost(elements most: Int, _ list: JSON?, _ field: String) -> Bool {
        let count = list.array?.count ?? 0
        guard count > most else { return true }
        report(FieldError(.tooMany, field, value: JSON(count), detail: "must have at most \(most) items"))
        return false
    }

    /// Refuses a member that may not be there.
    mutating func forbid(_ value: JSON?, _ field: String, _ detail: String) {
        if value != nil { report(.forbidden(field, detail)) }
    }

    /// Exactly one of the members of an object; each further one is refused. The names of those that are there.
    @discardableResult
    mutating func exactlyOne(
        of members: [String], in object: JSON, at path: String, missing: String, more: String
    ) -> [String] {
        let present = members.filter { object[$0] != nil }
        if present.isEmpty { report(.required(path, missing)) }
        for extra in present.dropFirst() { report(.forbidden("\(path).\(extra)", more)) }
        return present
    }

    /// Reports a change of a member that may not change; other than `immutable`, in words of the kind.
    mutating func unchanged(_ path: String, _ detail: String) {
        guard let old, JSON.member(path, of: object) != JSON.member(path, of: old) else { return }
        report(.forbidden(path, detail))
    }

    /// A change of a member that may not change: its whole path is below the object.
    mutating func immutable(_ path: String, detail: String = "field is immutable") {
        guard let old else { return }
        let after = JSON.member(path, of: object)
        if after != JSON.member(path, of: old) { report(.invalid(path, after, detail)) }
    }
}

extension JSON {
    /// The member at a path of names with points between; null when it is missing.
    static func member(_ path: String, of object: JSON) -> JSON {
        var value: JSON? = object
        for step in path.split(separator: ".") { value = value[String(step)] }
        return value ?? .null
    }

    /// The members of an object without those that hold nothing.
    func without(_ fields: [String]) -> JSON {
        var copy = self
        for field in fields { copy[field] = nil }
        return copy
    }
}

/// The words for texts that are no addresses, and what addresses things may not have.
enum AddressRules {
    static let noAddress = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    static let noNetwork = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

    /// Addresses that mean another thing on each machine, which nothing can be reached at from elsewhere.
    static func specialProblems(_ text: String) -> [String] {
        guard let address = IPAddress(text) else { return [] }
        if address.bits == 0 { return ["may not be unspecified (\(text))"] }
        let ranges: [(networks: [String], detail: String)] = [
            (["127.0.0.0/8", "::1/128"], "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            (["169.254.0.0/16", "fe80::/10"], "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            (
                ["224.0.0.0/24", "ff02::/16"],
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
            ),
        ]
        return ranges.filter { range in
            range.networks.contains { CIDR($0)?.contains(address) ?? false }
        }.map(\.detail)
    }

    /// Whether the texts are one address of each family.
    static func isDualStack(_ texts: [String]) -> Bool {
        let families = texts.map { (IPAddress($0)?.family ?? CIDR($0)?.family) }
        return families.contains(.v4) && families.contains(.v6)
    }
}
