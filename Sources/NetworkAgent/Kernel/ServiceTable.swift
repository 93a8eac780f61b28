// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Logging
import NetworkModel
import Synchronization
import Values

/// Table `ip catbird` or `ip6 catbird` in the kernel, and what this process knows it to hold.
///
/// Rules, and sets that change seldom, are written by libnftables, which reads the table before. Elements of Services are
/// written by nfnetlink, and nothing is read: what is there is known, or the table is written as a whole.
final class ServiceTable: Sendable {
    private struct State {
        /// Without elements of Services; nil for no table.
        var wanted: NFTContent?
        /// The same as it was written, nil until this process has written the table as a whole.
        var written: NFTContent?
        /// Whether `wanted` is written, with rules for these times.
        var isBaseWritten = false
        var times: Set<Int> = []
    }

    private let tables: Mutex<NFTables>
    private let socket: NetfilterSocket
    /// Held for as long as a change takes.
    private let state = Mutex(State())
    private let ownership: TableOwnership
    private let services: ServicePlane
    private let logger: Logger
    private let family: IPFamily

    init(
        _ tables: consuming NFTables, _ socket: NetfilterSocket, _ family: IPFamily, _ ownership: TableOwnership,
        _ services: ServicePlane, _ logger: Logger
    ) {
        self.family = family
        self.ownership = ownership
        self.services = services
        self.socket = socket
        self.tables = Mutex(tables)
        self.logger = logger
    }

    private var name: String { family == .v4 ? "ip" : "ip6" }

    /// Makes the next `apply` write the table as a whole: somebody else changed it.
    ///
    /// - Returns: whether this process had written it.
    func forget() -> Bool {
        state.withLock { state in
            defer { state.written = nil }
            return state.written != nil
        }
    }

    /// - Parameter wanted: without elements of Services; nil for no table.
    func apply(_ wanted: NFTContent?) throws {
        try state.withLock { state in
            guard let wanted else { return try remove(&state) }
            if state.wanted != wanted {
                state.wanted = wanted
                state.isBaseWritten = false
            }
            try write(&state)
        }
    }

    /// Writes what is pending of Services, where there is a table.
    func applyServices() throws {
        try state.withLock { state in
            if state.wanted != nil { try write(&state) }
        }
    }

    private func write(_ state: inout State) throws {
        guard let wanted = state.wanted else { return }
        if let known = state.written {
            let (changes, times) = services.takePending(family)
            do {
                // What elements need comes before them, what they no longer need goes after them.
                var now = known
                if !state.isBaseWritten || !times.isSubset(of: state.times) {
                    now = wanted.remembering(times.union(state.times))
                    try run(known.changes(to: now))
                }
                try commit(changes)
                if times != state.times {
                    let next = wanted.remembering(times)
                    try run(now.changes(to: next))
                    now = next
                }
                state.written = now
                state.isBaseWritten = true
                state.times = times
                tidy(changes, isWhole: false)
                return
            } catch {
                logger.error("a change of table \(wanted.table) was refused, it is written anew: \(error)")
                state.written = nil
            }
        }
        let elements = services.whole(family)
        var content = wanted.adding(elements)
        content.sets["affinity"]?.elements = keptAffinities()
        try run(content.replacement)
        state.times = NFTPlan.affinityTimes(elements)
        state.written = wanted.remembering(state.times)
        state.isBaseWritten = true
        tidy(ServiceChanges(), isWhole: true)
    }

    private func remove(_ state: inout State) throws {
        try tables.withLock { tables in
            let isThere = try tables.tables(family: name).contains { $0.name == NFTPlan.table }
            if isThere { try ownership.own { try tables.deleteTable(family: name, name: NFTPlan.table) } }
        }
        state = State()
    }

    private func run(_ commands: [String]) throws {
        if commands.isEmpty { return }
        let text = commands.joined(separator: "\n") + "\n"
        try tables.withLock { tables in
            try ownership.own { _ = try tables.run(text) }
        }
    }

    private func commit(_ changes: ServiceChanges) throws {
        var batch = NFTElementBatch(family, table: NFTPlan.table)
        for (element, change) in changes.elements[family] ?? [:] {
            if let before = change.before { batch.remove(Self.element(element, before)) }
            if let after = change.after { batch.add(Self.element(element, after)) }
        }
        guard !batch.isEmpty else { return }
        try ownership.own { try socket.commit(batch) }
    }

    private static func element(_ element: ServiceElement, _ value: ServiceElement.Value) -> NFTElement {
        NFTElement(set: element.set, key: element.bytes, keyEnd: element.endBytes, data: value.bytes)
    }
}

// MARK: What outlives endpoints

extension ServiceTable {
    private static let affinity = "affinity"

    /// Forgets connections over UDP and affinities that lead where nobody serves any more. What the tables say comes
    /// before: the next packet finds it. Their staying is no reason to write the table anew.
    private func tidy(_ changes: ServiceChanges, isWhole: Bool) {
        do {
            try forgetConnections(changes.lostUDP[family] ?? [], isWhole || changes.freshUDP.contains(family))
            if let lost = changes.lostAffinity[family] { try forgetAffinities(lost) }
        } catch {
            logger.warning(
                "connections to endpoints that have gone may go on being sent there until they end by themselves: \(error)"
            )
        }
    }

    private func forgetConnections(_ lost: Set<UInt32>, _ isFresh: Bool) throws {
        if lost.isEmpty, !isFresh { return }
        // The kernel sorts out a few marks; more are as well looked for here.
        let isListed = isFresh || lost.count > 4
        let marks = lost.flatMap { [$0, $0 | ServiceElement.Flag.local] }
        let connections =
            isListed
            ? try socket.connections(family) : try marks.flatMap { try socket.connections(family, mark: $0) }
        for connection in connections where connection.transport == ServicePort.TransportProtocol.udp.number {
            let flow = ServiceCalculation.Flow(
                destination: .init(connection.original.destination, Int(connection.original.destinationPort)),
                endpoint: .init(connection.reply.source, Int(connection.reply.sourcePort)), mark: connection.mark)
            if services.isStale(flow, lost: lost) { try socket.forget(connection) }
        }
    }

    private func forgetAffinities(_ lost: Set<UInt32>) throws {
        for element in try socket.elements(of: Self.affinity, table: NFTPlan.table, family) {
            guard let client = Client(element, family), lost.contains(client.mark & ~ServiceElement.Flag.local),
                !services.isKept(client.mark, client.endpoint, family)
            else { continue }
            var batch = NFTElementBatch(family, table: NFTPlan.table)
            batch.remove(NFTElement(set: Self.affinity, key: element.key))
            do {
                try ownership.own { try socket.commit(batch) }
            } catch let error as Errno where error.code == ENOENT {
                // Its time was over meanwhile.
                continue
            }
        }
    }

    /// The clients of a table that is about to be replaced who go on being led to their endpoints, as nft writes them.
    private func keptAffinities() -> [String: String] {
        var result: [String: String] = [:]
        // Without a table, or with one of an earlier version, there are none.
        for element in (try? socket.elements(of: Self.affinity, table: NFTPlan.table, family)) ?? [] {
            guard let client = Client(element, family), let timeout = element.timeout,
                services.isKept(client.mark, client.endpoint, family)
            else { continue }
            let rest = element.expiration ?? timeout
            result["\(client.address) . \(client.mark) timeout \(timeout)ms expires \(rest)ms"] =
                "\(client.endpoint.address) . \(client.endpoint.port)"
        }
        return result
    }

    /// An element of map `affinity`.
    private struct Client {
        let address: IPAddress
        let mark: UInt32
        let endpoint: ServicePort.Endpoint

        init?(_ element: NFTElement, _ family: IPFamily) {
            let width = family.bitWidth / 8
            guard element.key.count == width + 4, let data = element.data, data.count >= width + 2,
                let address = IPAddress(bytes: element.key.prefix(width)),
                let target = IPAddress(bytes: data.prefix(width))
            else { return nil }
            self.address = address
            // Marks are in the machine's order.
            mark = element.key.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: width, as: UInt32.self) }
            endpoint = .init(target, Int(data[width]) << 8 | Int(data[width + 1]))
        }
    }
}
