// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing
import Values

/// Calls that come twice, at once, too late or to what is gone.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct RepetitionRootTests {
    private let machine: Machine
    private let network: JSON

    init() throws {
        machine = try Machine()
        network = machine.network()
        try machine.makeNamespace("c1")
    }

    /// calico_cni_test: DEL never-added with and without netns, DEL twice.
    @Test func delNeedsNothingToBeThere() async throws {
        for netns in ["", "/no/such/namespace", machine.path("c1")] {
            let answer = try await machine.call("DEL", network, netns: netns)
            #expect(answer.isSuccess && answer.text.isEmpty, "\(answer.text)")
        }
        let one = try await machine.call("ADD", network)
        for netns in [nil, "", "/no/such/namespace"] {
            let answer = try await machine.call("DEL", network, netns: netns, previous: one.json)
            #expect(answer.isSuccess, "\(answer.text)")
        }
        #expect(try machine.leftovers().isEmpty)
    }

    @Test func delOfAContainerWhoseNamespaceIsGone() async throws {
        let one = try await machine.call("ADD", network)
        #expect(one.isSuccess)
        try Namespaces.unpin(machine.path("c1"))
        let answer = try await machine.call("DEL", network)
        #expect(answer.isSuccess, "\(answer.text)")
        #expect(machine.handles.isEmpty)
    }

    /// calico_cni_test: second ADD.
    @Test func addTwiceGivesTheSameAddress() async throws {
        let one = try await machine.call("ADD", network)
        let two = try await machine.call("ADD", network)
        #expect(one.json == two.json, "\(two.text)")
        // Also when a part of the first has been lost.
        try machine.netlink("c1").deleteLink("eth0")
        let three = try await machine.call("ADD", network)
        #expect(three.address == one.address)
        #expect(try await machine.ping("172.31.255.2", from: "c1"))
    }

    @Test func addToAVanishedNamespaceLeavesNothing() async throws {
        let gone = try await machine.call("ADD", network, netns: "/no/such/namespace")
        #expect(gone.code == 4 && gone.message.contains("/no/such/namespace"), "\(gone.text)")
        let file = "\(machine.folder)/file"
        try Files.touch(file)
        let plain = try await machine.call("ADD", network, netns: file)
        #expect(!plain.isSuccess && plain.message.contains("no namespace"), "\(plain.text)")
        let own = try await machine.call("ADD", network, netns: machine.path(Machine.node))
        #expect(!own.isSuccess && own.message.contains("node's own"), "\(own.text)")
        #expect(try machine.leftovers().isEmpty)
    }

    @Test func aPIDStandsForItsNamespace() async throws {
        var spawner = ProcessSpawner("/usr/bin/busybox", ["sleep", "600"])
        spawner.namespaces.net = machine.namespace("c1")
        let process = try spawner.spawn()
        defer { try? process.signal(SIGKILL) }
        let one = try await machine.call("ADD", network, netns: "\(process.pid)")
        #expect(one.isSuccess, "\(one.text)")
        #expect(one.json["interfaces"][1]["sandbox"].string == "/proc/\(process.pid)/ns/net")
        #expect(try machine.netlink("c1").link("eth0") != nil)
        let check = try await machine.call("CHECK", network, netns: "\(process.pid)", previous: one.json)
        #expect(check.isSuccess, "\(check.text)")
    }

    @Test func addsOfOneContainerAtOnceAgree() async throws {
        let answers = try await withThrowingTaskGroup(of: Machine.Answer.self) { group in
            for _ in 0..<6 { group.addTask { try await machine.call("ADD", network) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.allSatisfy { $0.isSuccess })
        #expect(Set(answers.map(\.address)).count == 1)
        #expect(machine.handles == ["local.c1"])
        let check = try await machine.call("CHECK", network, previous: answers.first?.json)
        #expect(check.isSuccess, "\(check.text)")
    }

    @Test func addsOfManyContainersAtOnceAreAllDifferent() async throws {
        let names = (0..<8).map { "many-\($0)" }
        for name in names { try machine.makeNamespace(name) }
        let answers = try await withThrowingTaskGroup(of: Machine.Answer.self) { group in
            for name in names { group.addTask { try await machine.call("ADD", network, container: name) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.allSatisfy { $0.isSuccess }, "\(answers.map(\.text))")
        #expect(Set(answers.map(\.address)).count == names.count)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for name in names {
                group.addTask {
                    let gone = try await machine.call("DEL", network, container: name)
                    #expect(gone.isSuccess, "\(gone.text)")
                }
            }
            try await group.waitForAll()
        }
        #expect(try machine.leftovers().isEmpty)
    }

    /// calico_cni_test: same host veth exists, existing route tolerated.
    @Test func whatIsThereAlready() async throws {
        let one = try await machine.call("ADD", network)
        let interface = try #require(one.json["interfaces"][0]["name"].string)
        #expect(try await machine.call("DEL", network).isSuccess)
        let node = try machine.netlink(Machine.node)
        // A pair of the same name, left by somebody who did not clean up.
        try node.addVeth(interface, LinkOptions(), peer: "leftover", peerOptions: LinkOptions())
        let two = try await machine.call("ADD", network)
        #expect(two.isSuccess, "\(two.text)")
        #expect(try node.link("leftover") == nil)
        #expect(try await machine.call("DEL", network).isSuccess)

        // An interface that the container has from elsewhere is not taken away.
        try machine.netlink("c1").addBridge("eth0")
        let three = try await machine.call("ADD", network)
        #expect(!three.isSuccess && three.message.contains("has an interface eth0 already"), "\(three.text)")
        #expect(try machine.netlink("c1").link("eth0") != nil)
        #expect(try machine.leftovers().isEmpty)
    }

    @Test func aForeignRouteIsNamedAndStays() async throws {
        let node = try machine.netlink(Machine.node)
        let uplink = try node.requireLink("eth0").index
        let route = Route(to: try #require(CIDR("10.99.0.0/32")), interface: uplink, protocol: .static)
        try node.addRoute(route)
        let answer = try await machine.call("ADD", network, arguments: "IP=10.99.0.0")
        #expect(!answer.isSuccess && answer.message.contains("remove it"), "\(answer.text)")
        #expect(try machine.leftovers().isEmpty)
        #expect(try node.routes().contains { $0.destination == route.destination })
    }

    @Test func aFullPoolRefusesAndLeavesNothing() async throws {
        let small = machine.network(pools: [["cidr": "10.98.0.0/31", "blockSize": 32]])
        for name in ["a", "b"] {
            try machine.makeNamespace(name)
            let answer = try await machine.call("ADD", small, container: name)
            #expect(answer.isSuccess, "\(answer.text)")
        }
        let full = try await machine.call("ADD", small)
        #expect(!full.isSuccess && full.code == 11 && full.message.contains("10.98.0.0/31"), "\(full.text)")
        #expect(machine.handles == ["local.a", "local.b"])
        #expect(try await machine.call("DEL", small, container: "a").isSuccess)
        let again = try await machine.call("ADD", small)
        #expect(again.isSuccess, "\(again.text)")
    }
}
