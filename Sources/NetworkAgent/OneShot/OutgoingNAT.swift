// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import Linux
import NetworkModel
import Values

/// The nftables table of a network without an agent. It is there while an address of the network is given out.
struct OutgoingNAT: Sendable {
    let network: String
    let pools: [IPPool]
    /// Where the lock is, which has the last DEL and the next ADD not overlap.
    let folder: String

    private var table: String { "\(NFTPlan.table)-\(network.prefix(200))" }

    private var families: [IPFamily] {
        IPFamily.allCases.filter { family in pools.contains { $0.cidr.family == family } }
    }

    /// Writes the tables.
    func apply() throws {
        let lock = try HeldLock("\(folder)/LOCK-nat")
        defer { withExtendedLifetime(lock) {} }
        var tables = try NFTables()
        for family in families {
            let networks = pools.filter { $0.cidr.family == family }
            let content = NFTPlan.standalone(
                table: table, pods: networks.map(\.cidr), masqueraded: networks.filter(\.natOutgoing).map(\.cidr),
                family)
            let commands = content.replacement.joined(separator: "\n") + "\n"
            do throws(NFTablesError) { try tables.run(commands) } catch {
                // Somebody else changed nftables in the same moment, which the kernel has one begin anew for.
                try tables.run(commands)
            }
        }
    }

    /// Takes the tables away when `isUnused` says so, which is asked while no ADD can write them.
    func removeIfUnused(_ isUnused: () throws -> Bool) throws {
        guard Files.exists(folder) else { return }
        let lock = try HeldLock("\(folder)/LOCK-nat")
        defer { withExtendedLifetime(lock) {} }
        guard try isUnused() else { return }
        var tables = try NFTables()
        for (family, name) in try tables.tables() where name == table {
            try tables.deleteTable(family: family, name: name)
        }
    }
}

/// A lock that is held while somebody keeps this.
final class HeldLock: Sendable {
    private let lock: FileLock

    init(_ path: String) throws(Errno) { lock = try FileLock(path) }
}
