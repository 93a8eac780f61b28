// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing
import Values

/// CHECK after each thing that an ADD made has been taken away or changed.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct CheckRootTests {
    struct Damage: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// What the error has to speak of.
        let word: String
        let make: @Sendable (Machine, _ address: String) throws -> Void
    }

    static let damages: [Damage] = [
        Damage(testDescription: "no interface in the container", word: "no interface") { machine, _ in
            try machine.netlink("c1").deleteLink("eth0")
        },
        Damage(testDescription: "its interface is down", word: "down") { machine, _ in
            let netlink = try machine.netlink("c1")
            try netlink.setLink(try netlink.requireLink("eth0").index, LinkOptions(up: false))
        },
        Damage(testDescription: "its address is gone", word: "has not the address") { machine, address in
            let netlink = try machine.netlink("c1")
            let link = try netlink.requireLink("eth0")
            try netlink.deleteAddress(
                InterfaceAddress(interface: link.index, address: try #require(CIDR("\(address)/32"))))
        },
        Damage(testDescription: "its default route is gone", word: "default route") { machine, _ in
            let netlink = try machine.netlink("c1")
            for route in try netlink.routes() where route.destination.prefixLength == 0 {
                try netlink.deleteRoute(route)
            }
        },
        Damage(testDescription: "the host's interface is down", word: "down") { machine, _ in
            let netlink = try machine.netlink(Machine.node)
            for link in try netlink.links() where link.name.hasPrefix("cali") {
                try netlink.setLink(link.index, LinkOptions(up: false))
            }
        },
        Damage(testDescription: "the host's route is gone", word: "no route to") { machine, _ in
            let netlink = try machine.netlink(Machine.node)
            for route in try netlink.routes(protocol: .plugin) { try netlink.deleteRoute(route) }
        },
        Damage(testDescription: "proxy ARP is off", word: "proxy_arp") { machine, _ in
            let link = try #require(
                try machine.netlink(Machine.node).links().first { $0.name.hasPrefix("cali") })
            try Namespaces.inNamespaces(net: machine.namespace(Machine.node)) {
                try Sysctl.write("net/ipv4/conf/\(link.name)/proxy_arp", "0")
            }
        },
        Damage(testDescription: "the allocation is gone", word: "not held") { machine, _ in
            for folder in ["ipamblocks", "ipamhandles", "blockaffinities"] {
                try Files.removeTree("\(machine.store)/\(folder)")
            }
        },
    ]

    @Test(arguments: damages) func damageIsNamed(damage: Damage) async throws {
        let machine = try Machine()
        try machine.makeNamespace("c1")
        let network = machine.network()
        let one = try await machine.call("ADD", network)
        #expect(try await machine.call("CHECK", network, previous: one.json).isSuccess)
        try damage.make(machine, one.address)
        let check = try await machine.call("CHECK", network, previous: one.json)
        #expect(!check.isSuccess && check.code == 100, "\(check.text)")
        #expect(check.message.contains(damage.word), "\(check.message)")
        // What is broken is removed all the same.
        let gone = try await machine.call("DEL", network, previous: one.json)
        #expect(gone.isSuccess, "\(gone.text)")
        #expect(try machine.leftovers().isEmpty)
    }
}
