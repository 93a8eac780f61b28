// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
import Synchronization

/// A change of a network namespace's nftables.
public enum NFTablesEvent: Sendable, Hashable {
    /// A transaction, which made `generation`: the tables that it touched (`ip catbird`), and the program that made it.
    case transaction(generation: UInt32, tables: Set<String>, program: String)
    /// Changes were lost.
    case overflow
}

/// What nf_tables' messages are made of; the kernel's header that says so cannot be imported.
private enum NFT {
    static let subsystem = 10
    /// `NFNLGRP_NFTABLES` as a bit of the groups.
    static let group: UInt32 = 1 << 6
    static let newGeneration = 15
    static let getGeneration = 16
    /// `NFT_MSG_NEWSETELEM` and `NFT_MSG_DELSETELEM`.
    static let elementKinds = [12, 14]
    /// In messages about tables and what is in them: the table's name. In those about generations: the number.
    static let first = 1
    /// In messages about elements: the set's name.
    static let second = 2
    static let program = 3
    static let headerSize = 4
    static let families: [UInt8: String] = [1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"]

    static func isMessage(_ reply: NetlinkReply) -> Bool { reply.type >> 8 == subsystem }
    static func kind(_ reply: NetlinkReply) -> Int { reply.type & 0xFF }

    static func generation(_ reply: NetlinkReply) -> UInt32? {
        guard isMessage(reply), kind(reply) == newGeneration else { return nil }
        return reply.attributes(after: headerSize).number(first, as: UInt32.self).map { UInt32(bigEndian: $0) }
    }

    /// The table that a message is about, unless it is about elements of one of these sets.
    static func table(_ reply: NetlinkReply, exceptElementsOf sets: Set<String>) -> String? {
        guard isMessage(reply), kind(reply) != newGeneration, let family = reply.payload.first,
            let word = families[family]
        else { return nil }
        let attributes = reply.attributes(after: headerSize)
        guard let name = attributes.string(first) else { return nil }
        if elementKinds.contains(kind(reply)), let set = attributes.string(second), sets.contains(set) { return nil }
        return "\(word) \(name)"
    }
}

/// Tells of transactions of nftables in one network namespace, in batches.
public final class NFTablesMonitor: Sendable {
    private let feed: NetlinkFeed<NFTablesEvent>
    /// For one reader.
    public var events: AsyncStream<[NFTablesEvent]> { feed.events }

    /// Changes from now on, in the given namespace or the calling thread's.
    ///
    /// - Parameter sets: names of sets that are meant to be filled by others: what changes in them touches no table.
    public init(in namespace: NamespaceRef? = nil, exceptElementsOf sets: Set<String> = []) throws {
        let transaction = Transaction(exceptElementsOf: sets)
        feed = try NetlinkFeed(NETLINK_NETFILTER, NFT.group, in: namespace, overflow: .overflow) {
            transaction.take($0)
        }
    }

    /// The tables that a transaction has touched so far; its end is told last.
    private final class Transaction: Sendable {
        private let tables = Mutex<Set<String>>([])

        private let sets: Set<String>

        init(exceptElementsOf sets: Set<String>) { self.sets = sets }

        func take(_ reply: NetlinkReply) -> NFTablesEvent? {
            tables.withLock { tables in
                if let generation = NFT.generation(reply) {
                    defer { tables = [] }
                    let program = reply.attributes(after: NFT.headerSize).string(NFT.program) ?? ""
                    return .transaction(generation: generation, tables: tables, program: program)
                }
                if let table = NFT.table(reply, exceptElementsOf: sets) { tables.insert(table) }
                return nil
            }
        }
    }
}

extension NetlinkSocket {
    /// The number of the transaction of nftables that was the last; of a socket of ``netfilter(in:)``.
    func tablesGeneration() throws(Errno) -> UInt32 {
        var message = NetlinkMessage(type: NFT.subsystem << 8 | NFT.getGeneration, flags: requestFlags)
        message.append(UInt32(0))
        let replies = try dump(message, "ask for the generation of nftables")
        guard let generation = replies.lazy.compactMap({ NFT.generation($0) }).first else {
            throw Errno(code: ENODATA, call: "netlink", detail: "the generation of nftables")
        }
        return generation
    }
}
