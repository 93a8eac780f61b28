// SPDX-License-Identifier: Apache-2.0
import Glibc
import Testing
import Values

@testable import Linux

/// Elements by nfnetlink, as nft lists them; connections by ctnetlink.
@Suite(.enabled(if: geteuid() == 0)) struct NFTablesElementTests {
    private static let mark: UInt32 = 0x1230

    private static func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number) { Array($0) } }
    private static func front(_ last: UInt8, _ port: UInt8, mark: UInt32) -> NFTElement {
        NFTElement(set: "fronts", key: [10, 96, 0, last, 6, 0, 0, 0, 0, port, 0, 0], data: bytes(mark))
    }

    private static func listed(_ tables: inout NFTables, _ kind: String, _ name: String) throws -> String {
        try tables.run("list \(kind) ip t \(name)").split(separator: "\n").map {
            $0.drop { $0 == " " || $0 == "\t" }
        }.joined(separator: " ")
    }

    private static let table = """
        add table ip t
        add map ip t fronts { type ipv4_addr . inet_proto . inet_service : mark; }
        add map ip t endpoints-16 { typeof ct mark . numgen random mod 16 : ip daddr . th dport; }
        add set ip t ranges { type ipv4_addr . inet_service . ipv4_addr; flags interval; }

        """

    @Test func elementsComeAndGoInOneTransaction() throws {
        try Namespaces.inNew([.net]) {
            var tables = try NFTables()
            try tables.run(Self.table)
            let socket = try NetfilterSocket()
            let generation = try socket.socket.tablesGeneration()
            var batch = NFTElementBatch(.v4, table: "t")
            batch.add(Self.front(1, 80, mark: Self.mark))
            batch.add(Self.front(2, 80, mark: 0x20))
            batch.add(
                NFTElement(
                    set: "endpoints-16", key: Self.bytes(Self.mark) + Self.bytes(3), data: [10, 0, 0, 1, 31, 144, 0, 0])
            )
            batch.add(
                NFTElement(
                    set: "ranges", key: [10, 96, 0, 1, 0, 80, 0, 0, 192, 168, 0, 0],
                    keyEnd: [10, 96, 0, 1, 0, 80, 0, 0, 192, 168, 255, 255]))
            try socket.commit(batch)
            #expect(try socket.socket.tablesGeneration() == generation &+ 1)
            let fronts = try Self.listed(&tables, "map", "fronts")
            #expect(fronts.contains("10.96.0.1 . tcp . 80 : 0x00001230"), "\(fronts)")
            let slots = try Self.listed(&tables, "map", "endpoints-16")
            #expect(slots.contains("0x00001230 . 3 : 10.0.0.1 . 8080"), "\(slots)")
            let ranges = try Self.listed(&tables, "set", "ranges")
            #expect(ranges.contains("10.96.0.1 . 80 . 192.168.0.0/16"), "\(ranges)")
            #expect(try socket.elements(of: "fronts", table: "t", .v4).count == 2)

            // The same key leads elsewhere, and another goes.
            var change = NFTElementBatch(.v4, table: "t")
            change.add(Self.front(1, 80, mark: 0x40))
            change.remove(Self.front(1, 80, mark: Self.mark))
            change.remove(Self.front(2, 80, mark: 0x20))
            change.remove(
                NFTElement(
                    set: "ranges", key: [10, 96, 0, 1, 0, 80, 0, 0, 192, 168, 0, 0],
                    keyEnd: [10, 96, 0, 1, 0, 80, 0, 0, 192, 168, 255, 255]))
            try socket.commit(change)
            #expect(
                try socket.elements(of: "fronts", table: "t", .v4) == [Self.front(1, 80, mark: 0x40)])
            #expect(try socket.elements(of: "ranges", table: "t", .v4).isEmpty)
        }
    }

    @Test func theElementThatIsRefusedIsNamedAndNothingIsDone() throws {
        try Namespaces.inNew([.net]) {
            var tables = try NFTables()
            try tables.run(Self.table)
            let socket = try NetfilterSocket()
            var batch = NFTElementBatch(.v4, table: "t")
            batch.add(Self.front(1, 80, mark: 1))
            batch.add(NFTElement(set: "nowhere", key: [1, 2, 3, 4]))
            batch.add(Self.front(3, 80, mark: 1))
            let error = #expect(throws: Errno.self) { try socket.commit(batch) }
            #expect(error?.code == ENOENT)
            #expect(
                error?.detail.contains("add element 0x01020304 of nowhere in table ip t") == true, "\(error as Any)")
            #expect(try socket.elements(of: "fronts", table: "t", .v4).isEmpty)
            // What is not there cannot go.
            var removal = NFTElementBatch(.v4, table: "t")
            removal.remove(Self.front(9, 80, mark: 1))
            let refused = #expect(throws: Errno.self) { try socket.commit(removal) }
            #expect(refused?.code == ENOENT)
            // The socket goes on.
            var good = NFTElementBatch(.v4, table: "t")
            good.add(Self.front(1, 80, mark: 1))
            try socket.commit(good)
            #expect(try socket.elements(of: "fronts", table: "t", .v4).count == 1)
        }
    }

    @Test func manyElementsFitInOneBatch() throws {
        try Namespaces.inNew([.net]) {
            var tables = try NFTables()
            try tables.run(Self.table)
            let socket = try NetfilterSocket()
            var batch = NFTElementBatch(.v4, table: "t")
            for number in 0..<30_000 as Range<UInt32> {
                batch.add(
                    NFTElement(
                        set: "endpoints-16", key: Self.bytes(number) + Self.bytes(0), data: [10, 0, 0, 1, 0, 80, 0, 0]))
            }
            try socket.commit(batch)
            #expect(try socket.elements(of: "endpoints-16", table: "t", .v4).count == 30_000)
        }
    }

    @Test func connectionsAreFoundByTheirMarkAndForgotten() throws {
        try Namespaces.inNew([.net]) {
            try NetlinkSocket().setUp("lo")
            var tables = try NFTables()
            try tables.run(
                "add table ip t\nadd chain ip t o { type filter hook output priority 0; }\nadd rule ip t o udp dport 5300 ct mark set 0x77\nadd rule ip t o ct state new accept\n"
            )
            let udp = Int32(SOCK_DGRAM.rawValue)
            func send(to port: UInt16) {
                let fd = Glibc.socket(AF_INET, udp, 0)
                defer { close(fd) }
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_port = port.bigEndian
                address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
                _ = withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(fd, "x", 1, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
            }
            send(to: 5300)
            send(to: 5301)
            let socket = try NetfilterSocket()
            let marked = try socket.connections(.v4, mark: 0x77)
            #expect(marked.count == 1)
            let one = try #require(marked.first)
            #expect(one.transport == 17 && one.original.destinationPort == 5300 && one.reply.sourcePort == 5300)
            #expect(one.original.destination == IPAddress(127, 0, 0, 1))
            #expect(try socket.connections(.v4).filter { $0.transport == 17 }.count == 2)
            try socket.forget(one)
            try socket.forget(one)
            #expect(try socket.connections(.v4, mark: 0x77).isEmpty)
        }
    }
}
