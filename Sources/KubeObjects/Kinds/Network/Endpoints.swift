// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let endpoints = KindDescription(
        "", "Endpoints",
        columns: [.objectName, TableColumn("Endpoints") { JSON(EndpointTable.addresses($0.json)) }, .age],
        defaults: { endpoints in
            endpoints.each("subsets") { subset in subset.each("ports") { $0.fillText("protocol", "TCP") } }
        },
        rules: { inspection in
            for (index, subset) in (inspection.object["subsets"].array ?? []).enumerated() {
                let path = "subsets[\(index)]"
                for list in ["addresses", "notReadyAddresses"] {
                    for (number, address) in (subset[list].array ?? []).enumerated() {
                        let text = address["ip"].string ?? ""
                        guard IPAddress(text) == nil else { continue }
                        inspection.report(
                            .invalid(
                                "\(path).\(list)[\(number)].ip", JSON(text),
                                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
                    }
                }
            }
        })

    static let endpointSlice = KindDescription(
        "discovery.k8s.io", "EndpointSlice",
        strategy: Strategy(countsGenerations: true),
        immutable: ["addressType"],
        columns: [
            .objectName, .text("AddressType", "addressType"),
            TableColumn("Ports") { JSON(EndpointTable.slicePorts($0.json)) },
            TableColumn("Endpoints") { JSON(EndpointTable.sliceAddresses($0.json)) }, .age,
        ],
        defaults: { slice in
            slice.each("ports") { port in
                port.fill("name", "")
                port.fillText("protocol", "TCP")
            }
        },
        rules: { inspection in
            inspection.oneOf(inspection.object["addressType"], "addressType", ["FQDN", "IPv4", "IPv6"])
            for (index, endpoint) in (inspection.object["endpoints"].array ?? []).enumerated() {
                if (endpoint["addresses"].array ?? []).isEmpty {
                    inspection.report(.required("endpoints[\(index)].addresses", "must contain at least 1 address"))
                }
            }
        })
}

private enum EndpointTable {
    private static let shown = 3

    private static func abbreviated(_ texts: [String]) -> String {
        if texts.isEmpty { return "<none>" }
        let more = texts.count > shown ? " + \(texts.count - shown) more..." : ""
        return texts.prefix(shown).joined(separator: ",") + more
    }

    private static func joined(_ address: String, _ port: Int) -> String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    static func addresses(_ endpoints: JSON) -> String {
        abbreviated(
            (endpoints["subsets"].array ?? []).flatMap { subset in
                let addresses = (subset["addresses"].array ?? []).compactMap { $0["ip"].string }
                let ports = (subset["ports"].array ?? []).compactMap { $0["port"].int }
                if ports.isEmpty { return addresses }
                return ports.flatMap { port in addresses.map { joined($0, port) } }
            })
    }

    static func slicePorts(_ slice: JSON) -> String {
        let ports = slice["ports"].array ?? []
        if ports.isEmpty { return "<unset>" }
        return abbreviated(ports.map { $0["port"].int.map { String($0) } ?? "*" })
    }

    static func sliceAddresses(_ slice: JSON) -> String {
        let addresses = (slice["endpoints"].array ?? []).flatMap { $0["addresses"].array?.compactMap(\.string) ?? [] }
        return addresses.isEmpty ? "<unset>" : abbreviated(addresses)
    }
}
