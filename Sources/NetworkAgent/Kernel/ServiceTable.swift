// SPDX-License-Identifier: Apache-2.0

import Linux
import Logging
import NetworkModel
import Synchronization
import Values

/// Table `ip catbird` or `ip6 catbird` in the kernel, and what this process knows it to hold.
final class ServiceTable: Sendable {
    private let tables: Mutex<NFTables>
    /// Nil until this process has written the table as a whole. Held for as long as a change takes.
    private let content = Mutex<NFTContent?>(nil)
    private let ownership: TableOwnership
    private let logger: Logger

    private let family: IPFamily

    init(_ tables: consuming NFTables, _ family: IPFamily, _ ownership: TableOwnership, _ logger: Logger) {
        self.family = family
        self.ownership = ownership
        self.tables = Mutex(tables)
        self.logger = logger
    }

    /// Makes the next `apply` write the table as a whole: somebody else changed it.
    ///
    /// - Returns: whether this process had written it.
    func forget() -> Bool {
        content.withLock { content in
            defer { content = nil }
            return content != nil
        }
    }

    /// - Parameter wanted: nil for no table.
    func apply(_ wanted: NFTContent?) throws {
        guard let wanted else { return try remove() }
        try content.withLock { content in
            if let known = content {
                let changes = known.changes(to: wanted)
                guard !changes.isEmpty else { return }
                do {
                    try run(changes)
                    content = wanted
                    return
                } catch {
                    logger.error("a change of table \(wanted.table) was refused, it is written anew: \(error)")
                    content = nil
                }
            }
            try run(wanted.replacement)
            content = wanted
        }
    }

    private func remove() throws {
        try content.withLock { content in
            let name = family == .v4 ? "ip" : "ip6"
            try tables.withLock { tables in
                let isThere = try tables.tables(family: name).contains { $0.name == NFTPlan.table }
                if isThere { try ownership.own { try tables.deleteTable(family: name, name: NFTPlan.table) } }
            }
            content = nil
        }
    }

    private func run(_ commands: [String]) throws {
        let text = commands.joined(separator: "\n") + "\n"
        try tables.withLock { tables in
            try ownership.own { _ = try tables.run(text) }
        }
    }
}
