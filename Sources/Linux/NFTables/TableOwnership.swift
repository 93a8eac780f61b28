// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
import Synchronization

/// Tells transactions of this process from those of others, by the generations that they made.
///
/// A transaction counts as this process' own when the generation rose by one while it was made. Where somebody else's
/// fell into the same moment, both count as foreign: the table is written once more, and no foreign change is missed.
public final class TableOwnership: Sendable {
    /// What somebody else did to a table.
    public struct Change: Sendable, Hashable {
        /// `ip catbird`
        public let table: String
        /// The program that made it; empty where changes were lost.
        public let program: String

        public init(table: String, program: String) {
            self.table = table
            self.program = program
        }
    }

    private struct State {
        /// Generations of own transactions that have not been told of yet.
        var own: Set<UInt32> = []
        /// The last generation that was looked at.
        var seen: UInt32
    }

    private let tables: Set<String>
    private let socket: NetlinkSocket
    private let state: Mutex<State>

    /// - Parameter tables: the tables to look after, as `ip catbird`.
    public init(of tables: Set<String>, in namespace: NamespaceRef? = nil) throws {
        self.tables = tables
        socket = try NetlinkSocket(protocol: NETLINK_NETFILTER, in: namespace)
        state = Mutex(State(seen: try socket.tablesGeneration()))
    }

    /// Runs `body`, which makes one transaction.
    public func own<T>(_ body: () throws -> T) throws -> T {
        try state.withLock { state in
            let before = try socket.tablesGeneration()
            let result = try body()
            let after = try socket.tablesGeneration()
            if after == before &+ 1 { state.own.insert(after) }
            return result
        }
    }

    /// Which of the tables others have changed, by what a monitor told. Waits for an own transaction that is being made.
    public func foreign(in events: [NFTablesEvent]) throws(Errno) -> [Change] {
        let result = state.withLock { state -> Result<[Change], Errno> in
            var changes: [Change] = []
            for event in events {
                switch event {
                case .transaction(let generation, let touched, let program):
                    state.seen = generation
                    guard state.own.remove(generation) == nil else { continue }
                    changes += touched.intersection(tables).sorted().map { Change(table: $0, program: program) }
                case .overflow:
                    // Nothing is lost where all that was done meanwhile was this process' own.
                    do throws(Errno) {
                        let now = try socket.tablesGeneration()
                        let missed = now &- state.seen
                        let isOwn =
                            missed <= state.own.count
                            && (0..<missed).allSatisfy { state.own.contains(state.seen &+ 1 &+ $0) }
                        state.seen = now
                        state.own = []
                        if !isOwn { changes += tables.sorted().map { Change(table: $0, program: "") } }
                    } catch { return .failure(error) }
                }
            }
            return .success(changes)
        }
        return try result.get()
    }
}
