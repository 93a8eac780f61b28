// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct OutsideAddressTests {
    @Test(
        arguments: [
            // Of nobody.
            ("192.168.7.1", nil),
            // A pool may give it to somebody; one that is off does not, nor one that keeps it reserved.
            ("10.0.0.9", "which pool on (10.0.0.0/24) may give to another pod"),
            ("10.0.1.9", nil), ("10.0.0.4", nil),
            // Held, in a block that has lost its pool.
            ("10.9.0.0", "which handle old holds"), ("10.9.0.1", nil),
        ] as [(String, String?)])
    func whatMayBeTaken(_ text: String, _ reason: String?) throws {
        var off = IPPool(name: "off", cidr: try #require(CIDR("10.0.1.0/24")))
        off.isDisabled = true
        var block = IPAMBlock(try #require(CIDR("10.9.0.0/26")), node: "a", now: Timestamp(seconds: 1_800_000_000))
        _ = block.allocate(handleID: "old", values: [:])
        let snapshot = IPAMSnapshot(
            pools: [IPPool(name: "on", cidr: try #require(CIDR("10.0.0.0/24"))), off], blocks: BlockTable([block]),
            reservations: [IPReservation(name: "r", cidrs: [try #require(CIDR("10.0.0.0/29"))])])
        let refusal = OutsideAddress.refusal(try #require(IPAddress(text)), snapshot)
        #expect(
            refusal == nil ? reason == nil : refusal?.description.hasSuffix(reason ?? "?") == true,
            "\(String(describing: refusal))")
    }
}
