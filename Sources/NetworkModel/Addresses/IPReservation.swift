// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// An IPReservation: networks that no new address is taken from, except by a request that names the address.
public struct IPReservation: Sendable, Hashable {
    public let name: String
    public let cidrs: [CIDR]
    /// Elements of `reservedCIDRs` that are neither networks nor addresses: they reserve nothing.
    public let malformed: [String]

    public init(name: String, cidrs: [CIDR]) {
        self.name = name
        self.cidrs = cidrs
        malformed = []
    }

    public init(_ object: KubeObject) {
        name = object.name
        var cidrs: [CIDR] = []
        var malformed: [String] = []
        for element in object["spec"]["reservedCIDRs"].array ?? [] {
            let text = element.string ?? "\(element)"
            if let cidr = CIDR(text) ?? IPAddress(text).map({ CIDR(host: $0) }) {
                cidrs.append(cidr.network)
            } else {
                malformed.append(text)
            }
        }
        self.cidrs = cidrs
        self.malformed = malformed
    }
}
