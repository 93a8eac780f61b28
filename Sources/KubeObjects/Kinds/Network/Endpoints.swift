// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let endpoints = KindDescription(
        "", "Endpoints", strategy: Strategy(allowsCreateOnUpdate: true),
        columns: [.objectName, TableColumn("Endpoints") { JSON(EndpointTable.addresses($0.json)) }, .age],
        defaults: { endpoints in
            endpoints.each("subsets") { subset in subset.each("ports") { $0.fillText("protocol", "TCP") } }
        },
        rules: EndpointRules.inspect)

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
        rules: EndpointSliceRules.inspect)
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
