// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

/// Commands at the same moment.
extension LifecycleTests {
    @Test func clustersThatStartAtOnceHaveNetworksOfTheirOwn() async throws {
        try await withCluster("one") { cluster in
            let other = cluster.profile + "x"
            async let first = cluster.attempt(["start"])
            async let second = cluster.attempt(["start"], on: other)
            for output in try await [first, second] {
                #expect(output.status == .exited(0), "\(output.text) \(output.errorText)")
            }
            let addresses = try await [cluster.attempt(["ip"]), cluster.attempt(["ip"], on: other)].map(\.text)
            #expect(Set(addresses).count == 2, "\(addresses)")
            // What is stopped keeps its range.
            #expect(try await cluster.attempt(["stop"], on: other).status == .exited(0))
            let third = cluster.profile + "y"
            #expect(try await cluster.attempt(["start"], on: third).status == .exited(0))
            let address = try await cluster.attempt(["ip"], on: third).text
            #expect(!addresses.contains(address))
            for profile in [other, third] {
                #expect(try await cluster.attempt(["delete"], on: profile).status == .exited(0))
            }
        }
    }

    @Test func theSecondStartOfAProfileWaitsForTheFirst() async throws {
        try await withCluster("twice") { cluster in
            async let first = cluster.attempt(["start"])
            async let second = cluster.attempt(["start"])
            let outputs = try await [first, second]
            #expect(outputs.map(\.status) == [.exited(0), .exited(0)], "\(outputs.map(\.errorText))")
            let waited = outputs.filter { $0.text.contains("is waited for: process") }
            #expect(waited.count == 1)
            #expect(waited.first?.text.contains("is running already: nothing was done") == true)
            // So does a third deletion; none fails for what the others have removed already.
            async let deleted = cluster.attempt(["delete"])
            async let again = cluster.attempt(["delete"])
            let deletions = try await [deleted, again]
            #expect(deletions.map(\.status) == [.exited(0), .exited(0)], "\(deletions.map(\.errorText))")
        }
    }
}
