// SPDX-License-Identifier: Apache-2.0

import NetworkModel
import Testing
import Values

@Suite struct ServiceRangeTests {
    /// Counts up from a number: every draw is known.
    private struct Counting: RandomNumberGenerator {
        var value: UInt64

        mutating func next() -> UInt64 {
            value &+= 0x9E37_79B9_7F4A_7C15
            return value
        }
    }

    private static func range(_ networks: [String]) throws -> ServiceRange {
        ServiceRange(networks: try networks.map { try #require(CIDR($0)) }, nodePorts: 30000...30003)
    }

    @Test(
        arguments: [
            ("10.96.0.10", nil), ("10.96.0.0", "not in the valid range"), ("10.96.0.255", "not in the valid range"),
            ("10.97.0.1", "does not match the current range"), ("10.96.0.7", "already allocated"),
            // The last of the narrow network is in the middle of the wide one.
            ("10.96.0.15", nil),
        ] as [(String, String?)])
    func addressesAskedFor(_ text: String, _ reason: String?) throws {
        let range = try Self.range(["10.96.0.0/28", "10.96.0.0/24"])
        let problem = range.problem(try #require(IPAddress(text))) { "\($0)" == "10.96.0.7" }
        #expect(problem == nil ? reason == nil : problem?.contains(reason ?? "?") == true, "\(problem ?? "nil")")
    }

    @Test func freeAddressesAreAwayFromTheLowOnesAndRunOut() throws {
        let range = try Self.range(["10.96.0.0/24", "10.97.0.0/29"])
        var random = Counting(value: 1)
        var taken: Set<IPAddress> = []
        while let address = range.freeAddress(using: &random, isTaken: { taken.contains($0) }) {
            #expect(taken.insert(address).inserted)
            if taken.count <= 239 { #expect(address.bits & 0xFF >= 16, "\(address)") }
        }
        // Without the first and the last of each.
        #expect(taken.count == 254 + 6)
        #expect(range.problem(try #require(IPAddress("10.96.0.0")), isTaken: { _ in false }) != nil)
        #expect(try Self.range(["10.96.0.0/30"]).freeAddress(using: &random) { _ in false } == nil)
    }

    @Test func ports() throws {
        let range = try Self.range([])
        #expect(range.problem(port: 29999) { _ in false }?.contains("30000-30003") == true)
        #expect(range.problem(port: 30001) { $0 == 30001 } == "provided port is already allocated")
        #expect(range.problem(port: 30001) { _ in false } == nil)
        var random = Counting(value: 7)
        var taken: Set<Int> = []
        while let port = range.freePort(using: &random, isTaken: { taken.contains($0) }) { taken.insert(port) }
        #expect(taken == [30000, 30001, 30002, 30003])
    }
}
