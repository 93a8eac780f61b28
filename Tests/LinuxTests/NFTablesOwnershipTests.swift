// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Testing

/// Own transactions of nftables and those of others, in a namespace of the test's own.
@Suite(.enabled(if: geteuid() == 0)) struct NFTablesOwnershipTests {
    private final class Space {
        let folder: TemporaryFolder
        let namespace: NamespaceRef

        init() throws {
            let folder = try TemporaryFolder()
            namespace = .path("\(folder.path)/net")
            try Namespaces.createPinned([.net: "\(folder.path)/net"])
            self.folder = folder
        }

        deinit { try? Namespaces.unpin("\(folder.path)/net") }

        func run(_ commands: String) throws {
            var tables = try NFTables(in: namespace)
            try tables.run(commands)
        }
    }

    @Test func onlyForeignChangesOfOwnTablesAreTold() async throws {
        let space = try Space()
        let ownership = try TableOwnership(of: ["ip mine"], in: space.namespace)
        let monitor = try NFTablesMonitor(in: space.namespace)
        try ownership.own { try space.run("add table ip mine\nadd chain ip mine c\nadd rule ip mine c accept") }
        try space.run("add table ip other")
        try space.run("add table ip6 mine")
        try space.run("flush chain ip mine c")
        var seen: [NFTablesEvent] = []
        var changes: [TableOwnership.Change] = []
        for await events in monitor.events {
            seen += events
            changes += try ownership.foreign(in: events)
            if seen.count == 4 { break }
        }
        #expect(changes.map(\.table) == ["ip mine"])
        #expect(changes.allSatisfy { !$0.program.isEmpty })
        let touched = seen.map { event -> Set<String> in
            if case .transaction(_, let tables, _) = event { tables } else { [] }
        }
        #expect(touched == [["ip mine"], ["ip other"], ["ip6 mine"], ["ip mine"]])
    }

    /// A monitor that lost events says so; that is no reason to write a table anew which nobody else touched.
    @Test func lostEventsOfOwnTransactionsAreNoForeignChange() throws {
        let space = try Space()
        let ownership = try TableOwnership(of: ["ip mine"], in: space.namespace)
        for number in 0..<3 { try ownership.own { try space.run("add table ip mine\nadd chain ip mine c\(number)") } }
        #expect(try ownership.foreign(in: [.overflow]).isEmpty)
        try ownership.own { try space.run("add chain ip mine d") }
        try space.run("delete chain ip mine d")
        #expect(try ownership.foreign(in: [.overflow]) == [.init(table: "ip mine", program: "")])
        #expect(try ownership.foreign(in: [.overflow]).isEmpty)
    }
}
