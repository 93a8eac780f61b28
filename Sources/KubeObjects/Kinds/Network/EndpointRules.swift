// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for Endpoints.
enum EndpointRules {
    static func inspect(_ inspection: inout Inspection) {
        inspection.each(inspection.object["subsets"], "subsets") { inspection, subset, path in
            let lists = ["addresses", "notReadyAddresses"]
            if lists.allSatisfy({ (subset[$0].array ?? []).isEmpty }) {
                inspection.report(.required(path, "must specify `addresses` or `notReadyAddresses`"))
            }
            for list in lists {
                inspection.each(subset[list], "\(path).\(list)") { address(&$0, $1, at: $2) }
            }
            let needsNames = (subset["ports"].array?.count ?? 0) > 1
            inspection.each(subset["ports"], "\(path).ports") { inspection, port, place in
                if needsNames, (port["name"].string ?? "").isEmpty {
                    inspection.report(.required("\(place).name"))
                }
                inspection.text(port["name"], "\(place).name", Names.labelProblems)
                inspection.port(port["port"], "\(place).port")
                inspection.oneOf(port["protocol"], "\(place).protocol", ["SCTP", "TCP", "UDP"], missing: .required)
                inspection.text(port["appProtocol"], "\(place).appProtocol", Names.qualifiedNameProblems)
            }
        }
    }

    private static func address(_ inspection: inout Inspection, _ address: JSON, at path: String) {
        inspection.address(address["ip"], "\(path).ip")
        inspection.text(address["ip"], "\(path).ip", AddressRules.specialProblems)
        inspection.text(address["hostname"], "\(path).hostname", Names.labelProblems)
        inspection.text(address["nodeName"], "\(path).nodeName", Names.subdomainProblems)
    }
}

/// What must hold for an EndpointSlice.
enum EndpointSliceRules {
    private static let mostEndpoints = 1000
    private static let mostAddresses = 100
    private static let mostPorts = 20000
    private static let mostZones = 8

    static func inspect(_ inspection: inout Inspection) {
        let slice = inspection.object
        inspection.oneOf(slice["addressType"], "addressType", ["FQDN", "IPv4", "IPv6"], missing: .required)
        if inspection.atMost(elements: mostEndpoints, slice["endpoints"], "endpoints") {
            let type = slice["addressType"].string ?? ""
            inspection.each(slice["endpoints"], "endpoints") { endpoint(&$0, $1, at: $2, type) }
        }
        guard inspection.atMost(elements: mostPorts, slice["ports"], "ports") else { return }
        var names = Set<String>()
        inspection.each(slice["ports"], "ports") { inspection, port, path in
            let name = port["name"].string ?? ""
            inspection.text(port["name"], "\(path).name", Names.labelProblems)
            if !names.insert(name).inserted { inspection.report(.duplicate("\(path).name", JSON(name))) }
            if port["port"] != nil { inspection.port(port["port"], "\(path).port") }
            inspection.oneOf(port["protocol"], "\(path).protocol", ["SCTP", "TCP", "UDP"], missing: .required)
            inspection.text(port["appProtocol"], "\(path).appProtocol", Names.qualifiedNameProblems)
        }
    }

    private static func endpoint(_ inspection: inout Inspection, _ endpoint: JSON, at path: String, _ type: String) {
        if (endpoint["addresses"].array ?? []).isEmpty {
            inspection.report(.required("\(path).addresses", "must contain at least 1 address"))
        }
        inspection.atMost(elements: mostAddresses, endpoint["addresses"], "\(path).addresses")
        inspection.eachText(endpoint["addresses"], "\(path).addresses") { inspection, text, place in
            inspection.invalid(place, JSON(text), addressProblems(text, type))
        }
        inspection.text(endpoint["hostname"], "\(path).hostname", Names.labelProblems)
        inspection.text(endpoint["nodeName"], "\(path).nodeName", Names.subdomainProblems)
        MetadataRules.labels(&inspection, endpoint["deprecatedTopology"], "\(path).deprecatedTopology")
        for (list, most) in [("forZones", mostZones), ("forNodes", mostZones)] {
            let hints = endpoint["hints"][list]
            let field = "\(path).hints.\(list)"
            guard inspection.atMost(elements: most, hints, field) else { continue }
            var seen = Set<String>()
            inspection.each(hints, field) { inspection, hint, place in
                inspection.requireText(hint["name"], "\(place).name", Names.subdomainProblems)
                inspection.unique(hint["name"], "\(place).name", &seen)
            }
        }
    }

    private static func addressProblems(_ text: String, _ type: String) -> [String] {
        switch type {
        case "IPv4", "IPv6":
            guard let address = IPAddress(text) else { return [AddressRules.noAddress] }
            if address.family != (type == "IPv4" ? .v4 : .v6) { return ["must be an \(type) address"] }
            return AddressRules.specialProblems(text)
        case "FQDN": return Names.qualifiedDomainProblems(text)
        default: return []
        }
    }
}
