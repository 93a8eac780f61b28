// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What must hold of Calico's policies, network sets, host endpoints and tiers.
enum PolicyRules {
    private static let protocols = ["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"]
    private static let withPorts: Set<String> = ["TCP", "UDP", "SCTP", "UDPLite", "6", "17", "132", "136"]

    static func policy(_ json: JSON?) -> [FieldError] {
        var spec = SpecReader(json, "spec")
        for field in ["selector", "namespaceSelector", "serviceAccountSelector"] { spec.selector(field) }
        let isRaw = json["doNotTrack"].bool ?? false
        let isEarly = json["preDNAT"].bool ?? false
        if isRaw, isEarly { spec.refuse("doNotTrack", "preDNAT is set as well: packets pass the one or the other") }
        if isRaw || isEarly, json["applyOnForward"].bool != true {
            spec.refuse("applyOnForward", "doNotTrack and preDNAT apply to forwarded packets: set it to true")
        }
        if isEarly, !(json["egress"].array ?? []).isEmpty {
            spec.add([.forbidden("spec.egress", "a preDNAT policy sees packets that come in only")])
        }
        if isEarly, json["types"].array?.contains("Egress") == true {
            spec.refuse("types", "a preDNAT policy sees packets that come in only: take Egress out")
        }
        for direction in ["ingress", "egress"] {
            for (index, item) in (json[direction].array ?? []).enumerated() {
                spec.add(rule(item, "spec.\(direction)[\(index)]"))
            }
        }
        return spec.errors
    }

    private static func rule(_ json: JSON, _ path: String) -> [FieldError] {
        var rule = SpecReader(json, path)
        for field in ["protocol", "notProtocol"] where !isProtocol(json[field]) {
            rule.refuse(field, "\(protocols.joined(separator: ", ")) or a number of 1 to 255 is wanted")
        }
        let name = protocolName(json["protocol"])
        let version = json["ipVersion"].int
        for (field, name) in [("protocol", name), ("notProtocol", protocolName(json["notProtocol"]))] {
            if ["ICMP", "1"].contains(name), version == 6 { rule.refuse(field, "ipVersion 6 has ICMPv6") }
            if ["ICMPv6", "58"].contains(name), version == 4 { rule.refuse(field, "ipVersion 4 has ICMP") }
        }
        if json["icmp"].object != nil, !["ICMP", "ICMPv6", "1", "58"].contains(name) {
            rule.refuse("icmp", "set protocol to ICMP or ICMPv6 as well")
        }
        for field in ["icmp", "notICMP"] where json[field]["code"].int != nil && json[field]["type"].int == nil {
            rule.refuse(field, "a code is of a type: set type as well")
        }
        if json["http"].object != nil {
            if let name, !["TCP", "6"].contains(name) { rule.refuse("http", "HTTP runs over protocol TCP") }
            if json["action"].string != "Allow" { rule.refuse("http", "only rules with action Allow look at HTTP") }
        }
        var families: Set<IPFamily> = []
        for side in ["source", "destination"] {
            rule.add(entity(json[side], "\(path).\(side)", hasPorts: name.map { withPorts.contains($0) } ?? false))
            for field in ["nets", "notNets"] {
                families.formUnion((json[side][field].array ?? []).compactMap { $0.string.flatMap { family($0) } })
            }
        }
        if families.count > 1 {
            rule.add([.invalid(path, "IPv4, IPv6", "its networks are of both families: make a rule for each")])
        } else if let family = families.first, let version, (version == 4) != (family == .v4) {
            rule.refuse("ipVersion", "the networks of the rule are \(family.rawValue)")
        }
        return rule.errors
    }

    private static func family(_ text: String) -> IPFamily? { CIDR(text)?.family ?? IPAddress(text)?.family }

    private static func entity(_ json: JSON?, _ path: String, hasPorts: Bool) -> [FieldError] {
        var entity = SpecReader(json, path)
        entity.selector("selector")
        entity.selector("notSelector")
        entity.selector("namespaceSelector", allowsGlobal: true)
        var accounts = SpecReader(json["serviceAccounts"], entity.at("serviceAccounts"))
        accounts.selector("selector")
        entity.add(accounts.errors)
        entity.networks("nets")
        entity.networks("notNets")
        for field in ["ports", "notPorts"] {
            guard let ports = json[field].array, !ports.isEmpty else { continue }
            if !hasPorts {
                entity.refuse(field, "ports need protocol TCP, UDP, SCTP or UDPLite in the same rule")
            }
            for (index, value) in ports.enumerated() where !isPort(value) {
                entity.add([
                    .invalid(
                        "\(entity.at(field))[\(index)]", value,
                        "a port of 0 to 65535, a range as 80:90, or the name of a port is wanted")
                ])
            }
        }
        if json["services"].object != nil {
            if (json["services"]["name"].string ?? "").isEmpty {
                entity.add([.required(entity.at("services.name"), "the Service whose pods are meant")])
            }
            for field in ["selector", "notSelector", "namespaceSelector"] where entity.text(field) != nil {
                entity.refuse(field, "services is set as well, and says which pods are meant")
            }
            for field in ["nets", "notNets", "ports", "notPorts"] where !(json[field].array ?? []).isEmpty {
                entity.refuse(field, "services is set as well, and says which addresses and ports are meant")
            }
            if json["serviceAccounts"].object != nil {
                entity.refuse("serviceAccounts", "services is set as well, and says which pods are meant")
            }
        }
        return entity.errors
    }

    private static func protocolName(_ value: JSON?) -> String? { value.string ?? value.int.map { "\($0)" } }

    private static func isProtocol(_ value: JSON?) -> Bool {
        guard let name = protocolName(value) else { return true }
        return protocols.contains(name) || Int(name).map { (1...255).contains($0) } ?? false
    }

    private static func isPort(_ value: JSON) -> Bool {
        if let number = value.int { return (0...65535).contains(number) }
        guard let text = value.string else { return true }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        if parts.count == 2 || Int(text) != nil {
            let numbers = parts.compactMap { UInt16($0) }
            return numbers.count == parts.count && numbers.first ?? 0 <= numbers.last ?? 0
        }
        return (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    static func networkSet(_ spec: SpecReader) -> [FieldError] {
        var spec = spec
        spec.networks("nets")
        return spec.errors
    }

    static func hostEndpoint(_ json: JSON?) -> [FieldError] {
        var spec = SpecReader(json, "spec")
        if spec.text("node") == nil { spec.add([.required("spec.node", "the node whose interface it is")]) }
        if spec.text("interfaceName") == nil, (json["expectedIPs"].array ?? []).isEmpty {
            spec.add([.required("spec.interfaceName", "which interface: its name, * for all, or expectedIPs")])
        }
        if let name = spec.text("interfaceName"), name.contains(where: { $0 == "/" || $0 == " " }) {
            spec.refuse("interfaceName", "no interface can have this name")
        }
        for (index, value) in (json["expectedIPs"].array ?? []).enumerated() {
            if let text = value.string, IPAddress(text) == nil {
                spec.add([.invalid("spec.expectedIPs[\(index)]", value, "an IP address is wanted")])
            }
        }
        for (index, item) in (json["ports"].array ?? []).enumerated() {
            var port = SpecReader(item, "spec.ports[\(index)]")
            if !isProtocol(item["protocol"]) {
                port.refuse("protocol", "\(protocols.joined(separator: ", ")) or a number of 1 to 255 is wanted")
            }
            spec.add(port.errors)
        }
        return spec.errors
    }

    static func tier(_ spec: SpecReader) -> [FieldError] {
        var spec = spec
        if let text = spec.text("defaultAction"), !["Deny", "Pass"].contains(text) {
            spec.add([.notSupported("spec.defaultAction", JSON(text), ["Deny", "Pass"])])
        }
        return spec.errors
    }
}
