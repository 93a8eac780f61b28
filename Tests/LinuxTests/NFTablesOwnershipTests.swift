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

    /// A set that is there for others to fill is no reason to write its table anew; the rest of it is.
    @Test func elementsOfOthersSetsAreNoForeignChange() async throws {
        let space = try Space()
        try space.run("add table ip mine\nadd set ip mine open { type inet_service; }")
        try space.run("add set ip mine own { type mark; }")
        let ownership = try TableOwnership(of: ["ip mine"], in: space.namespace)
        let monitor = try NFTablesMonitor(in: space.namespace, exceptElementsOf: ["open"])
        try space.run("add element ip mine open { 80, 443 }")
        try space.run("delete element ip mine open { 80 }")
        try space.run("add element ip mine own { 7 }")
        var seen = 0
        var changes: [TableOwnership.Change] = []
        for await events in monitor.events {
            seen += events.count
            changes += try ownership.foreign(in: events)
            if seen == 3 { break }
        }
        #expect(changes.map(\.table) == ["ip mine"])
    }

    @Test func tablesAreComparedByWhatTheyHold() throws {
        let space = try Space()
        let commands = """
            add table ip mine
            add set ip mine open { type inet_service; }
            add chain ip mine c { type filter hook input priority 10; }
            flush chain ip mine c
            add rule ip mine c tcp dport @open accept
            add rule ip mine c ip saddr 10.0.0.0/8 drop
            add chain ip mine d
            """
        func differences() throws -> [String]? {
            var tables = try NFTables(in: space.namespace)
            let wanted = try #require(try NFTables.content(of: "ip mine", madeBy: commands, withoutElements: ["open"]))
            return try tables.content(of: "ip mine", withoutElements: ["open"])?.differences(from: wanted)
        }
        #expect(try differences() == nil)
        try space.run(commands)
        try space.run(commands)
        try space.run("add element ip mine open { 80 }")
        #expect(try differences() == [])
        try space.run("insert rule ip mine c ip saddr 10.0.0.0/8 accept\nadd chain ip mine e")
        #expect(try differences() == ["chain c", "chain e"])
        try space.run("delete table ip mine\n" + commands)
        try space.run("flush chain ip mine c\nadd rule ip mine c ip saddr 10.0.0.0/8 drop")
        try space.run("add rule ip mine c tcp dport @open accept\ndelete chain ip mine d")
        #expect(try differences() == ["chain c", "chain d"])
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
