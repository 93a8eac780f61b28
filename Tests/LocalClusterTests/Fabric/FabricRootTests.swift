// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import LocalCluster
import Logging
import Testing
import Values

/// Real fabrics, whose host is a namespace too: nothing of this machine's own network is touched.
@Suite(.enabled(if: geteuid() == 0)) struct FabricRootTests {
    private struct Stage: Sendable {
        let folder: String
        let profile: ProfileName
        var hostPin: String { "\(folder)/host" }
        var host: NamespaceRef { .path(hostPin) }
        var run: String { "\(folder)/run" }
        var state: String { "\(folder)/state" }

        init() throws {
            profile = try ProfileName("t\(UInt32.random(in: 0 ... .max))")
            folder = "/tmp/catbird-test-\(profile)"
            try Files.makeDirectories(folder)
            try Namespaces.createPinned([.net: hostPin]) {
                let socket = try NetlinkSocket()
                try socket.setUp("lo")
                // Somewhere that only the host can reach.
                try socket.addBridge("outside", LinkOptions(up: true))
                let index = try socket.requireLink("outside").index
                guard let address = CIDR("203.0.113.9/24") else { return }
                try socket.addAddress(InterfaceAddress(interface: index, address: address))
            }
        }

        func end() async {
            try? await Fabric.destroyEverything(
                profile: profile, runDirectory: run, stateDirectory: state, removeFiles: true, host: host)
            try? Namespaces.unpin(hostPin)
            try? Files.removeTree(folder)
        }

        func node(_ name: String, _ resolvers: Resolvers) -> NodeNamespaces {
            NodeNamespaces(
                NodeNamespaces.Configuration(
                    profile: profile, name: name, runDirectory: run, stateDirectory: state,
                    binds: [NodeNamespaces.Bind("\(folder)/shared", at: "/var/lib/catbird/images")],
                    binaries: ["catbird-true": "/usr/bin/true"],
                    hosts: [(IPAddress(192, 168, 49, 1), ["host.catbird.internal"])], resolvers: resolvers))
        }
    }

    private func withStage(_ body: (Stage) async throws -> Void) async throws {
        let stage = try Stage()
        do { try await body(stage) } catch {
            await stage.end()
            throw error
        }
        await stage.end()
    }

    private func shell(_ node: NodeNamespaces, _ command: String) async throws -> ProcessOutput {
        try await node.spawner("/bin/sh", ["-c", command]).run()
    }

    @Test func twoRacksReachEachOtherAndTheOutside() async throws {
        try await withStage { stage in
            try Files.makeDirectories("\(stage.folder)/shared")
            var plan = try FabricPlan.choose(racks: 2, occupied: [])
            let first = try plan.addNode("one")
            let second = try plan.addNode("two")
            let resolvers = Resolvers(nameservers: [IPAddress(192, 0, 2, 53)])
            let fabric = Fabric(profile: stage.profile, plan: plan, runDirectory: stage.run, resolvers: resolvers)
            try Namespaces.inNamespaces(net: stage.host) {
                try fabric.create()
                try fabric.create()
            }
            let one = stage.node("one", resolvers)
            let two = stage.node("two", resolvers)
            async let created: Void = one.create()
            try await two.create()
            try await created
            try fabric.attach(first, to: one.net)
            try fabric.attach(second, to: two.net)
            try fabric.attach(second, to: two.net)

            for target in ["\(second.address)", "192.168.49.1", "192.168.49.191", "203.0.113.9"] {
                let result = try await shell(one, "busybox ping -c 1 -W 5 \(target)")
                #expect(result.status.isSuccess, "ping \(target): \(result.text)\(result.errorText)")
            }
            let back = try await shell(two, "busybox ping -c 1 -W 5 \(first.address)")
            #expect(back.status.isSuccess)

            let host = try NetlinkSocket(in: stage.host)
            #expect(try host.route(to: IPAddress(192, 168, 50, 2))?.gateway == IPAddress(192, 168, 49, 191))
            #expect(try host.route(to: IPAddress(192, 168, 49, 200))?.gateway == first.address)

            try fabric.detach(second)
            try fabric.detach(second)
            #expect(try NetlinkSocket(in: two.net).link("eth0") == nil)
            try fabric.attach(second, to: two.net)
            #expect(try await shell(two, "busybox ping -c 1 -W 5 \(first.address)").status.isSuccess)

            try await one.destroy(removeFiles: true)
            try await two.destroy(removeFiles: true)
            try Namespaces.inNamespaces(net: stage.host) {
                try fabric.destroy()
                try fabric.destroy()
                var tables = try NFTables()
                #expect(try tables.tables().isEmpty)
            }
            #expect(try Set(host.links().map(\.name)) == ["lo", "outside"])
            #expect(try host.routes().allSatisfy { $0.protocol == .kernel })
        }
    }

    /// Whatever of the fabric somebody takes away comes back by itself, and is told of.
    @Test func whatOthersTakeAwayComesBack() async throws {
        try await withStage { stage in
            try Files.makeDirectories("\(stage.folder)/shared")
            var plan = try FabricPlan.choose(racks: 2, occupied: [])
            let first = try plan.addNode("one")
            let second = try plan.addNode("two")
            let resolvers = Resolvers(nameservers: [IPAddress(192, 0, 2, 53)])
            let fabric = Fabric(profile: stage.profile, plan: plan, runDirectory: stage.run, resolvers: resolvers)
            try Namespaces.inNamespaces(net: stage.host) { try fabric.create() }
            let nodes = [(first, stage.node("one", resolvers)), (second, stage.node("two", resolvers))]
            let (repairs, continuation) = AsyncStream.makeStream(of: FabricWatch.Repair.self)
            let watch = try FabricWatch(fabric, host: stage.host, log: Logger(label: "test")) { continuation.yield($0) }
            try await watch.start()
            for (node, namespaces) in nodes {
                try await namespaces.create()
                try fabric.attach(node, to: namespaces.net)
                try await watch.add(node, namespaces.net)
            }
            let pods = try #require(CIDR("10.244.0.0/16"))
            #expect(await watch.routePods([pods]).isEmpty)
            let attached = nodes.map { ($0.0, $0.1.net) }
            @Sendable func differences() throws -> [String] {
                let places: [ExpectedNetwork.Place] = [.machine, .fabric, .node("one"), .node("two")]
                return try places.flatMap { place in
                    try fabric.expected(place, nodes: attached, podRanges: [pods], host: stage.host)?.differences()
                        ?? []
                }.map(\.description)
            }
            #expect(try differences().isEmpty)
            let link = fabric.names.hostLink
            var told = repairs.makeAsyncIterator()
            for (namespace, command) in [
                (stage.host, "nft flush ruleset"), (stage.host, "nft flush chain ip \(fabric.names.table) postrouting"),
                (stage.host, "ip link del \(link)"), (stage.host, "ip addr flush dev \(link)"),
                (stage.host, "ip route del 10.244.0.0/16"), (stage.host, "ip route del 192.168.50.0/24"),
                (fabric.namespace, "ip link del rack1"), (fabric.namespace, "ip link set rack2 down"),
                (fabric.namespace, "ip link set uplink nomaster"), (fabric.namespace, "ip route del default"),
                (nodes[0].1.net, "ip route del default"), (nodes[1].1.net, "ip addr flush dev eth0"),
                (nodes[1].1.net, "ip link del eth0"),
            ] {
                var spawner = ProcessSpawner("/bin/sh", ["-c", command])
                spawner.namespaces.net = namespace
                let result = try await spawner.run()
                #expect(result.status.isSuccess, "\(command): \(result.errorText)")
                repeat {
                    let repair = try #require(await told.next())
                    #expect(!repair.differences.isEmpty)
                } while try !differences().isEmpty
                let ping = try await shell(nodes[1].1, "busybox ping -c 1 -W 5 203.0.113.9")
                #expect(ping.status.isSuccess, "after \(command)")
            }
            // A range that the machine uses itself is left alone, and taken when it is free.
            let host = try NetlinkSocket(in: stage.host)
            let outside = try host.requireLink("outside").index
            let clash = try #require(CIDR("10.9.0.0/16"))
            try host.addRoute(Route(to: clash, via: IPAddress(203, 0, 113, 1), interface: outside))
            #expect(await watch.routePods([pods, clash]).map(\.range) == [clash])
            let monitor = try NetlinkMonitor([.routes], in: stage.host)
            try host.deleteRoute(Route(to: clash, via: IPAddress(203, 0, 113, 1), interface: outside))
            for await events in monitor.events
            where events.contains(where: {
                if case .route(let route) = $0 { route.destination == clash } else { false }
            }) {
                break
            }
            #expect(try host.routes().first { $0.destination == clash }?.gateway == first.address)
            // A node that is taken off on purpose stays off.
            await watch.remove("two")
            try fabric.detach(second)
            await watch.end()
            #expect(try NetlinkSocket(in: nodes[1].1.net).link("eth0") == nil)
            for (_, namespaces) in nodes { try await namespaces.destroy(removeFiles: true) }
        }
    }

    @Test func nodeHasItsOwnFileSystem() async throws {
        try await withStage { stage in
            try Files.makeDirectories("\(stage.folder)/shared")
            try Files.replace("\(stage.folder)/shared/layer", with: "shared".utf8)
            let node = stage.node("lab-m02", Resolvers(nameservers: [IPAddress(192, 0, 2, 53)]))
            try await node.create()
            try await node.create()
            let text = try await shell(
                node,
                """
                hostname; cat /etc/resolv.conf /etc/hosts /var/lib/catbird/images/layer; echo
                /opt/catbird/bin/catbird-true && echo binary
                touch /usr/x 2>/dev/null || echo read-only
                touch /var/lib/kubelet/here /run/here /tmp/here /opt/here && echo writable
                ls /sys/class/net; ls /home; id -un; cat /proc/self/cgroup | grep -c \(node.processCgroup)
                findmnt -no PROPAGATION / 2>/dev/null || grep -m1 ' / / ' /proc/self/mountinfo
                """)
            let lines = Set(text.text.split(separator: "\n").map(String.init))
            #expect(
                lines.isSuperset(of: [
                    "lab-m02", "nameserver 192.0.2.53", "192.168.49.1 host.catbird.internal", "shared", "binary",
                    "read-only", "writable", "root", "lo",
                ]), "\(text.text)\(text.errorText)")
            #expect(!lines.contains("eth0"))
            // What the host has hundreds of is seen, not copied: each would be an inode of every node's disk.
            for folder in ["/etc/ssl/certs", "/etc/alternatives"] where Files.kind(folder) == .directory {
                #expect(try Files.list(node.root + folder).isEmpty)
                let seen = try await shell(
                    node, "ls \(folder) | wc -l; touch \(folder)/x 2>/dev/null || echo read-only")
                #expect(try seen.text == "\(Files.list(folder).count)\nread-only\n")
            }
            #expect(Files.exists("\(node.root)/var/lib/kubelet/here") && !Files.exists("/run/here"))
            #expect(try Mounts.list().allSatisfy { !$0.isBelow(node.root) })
            let layout = try CgroupLayout.detect()
            #expect(Set(layout.hierarchies.map { Files.exists($0.path(of: node.podCgroup)) }) == [true])
            try await node.destroy(removeFiles: false)
            #expect(!node.exists && !layout.exists(node.cgroup))
            #expect(Files.exists("\(node.root)/var/lib/kubelet/here"))
            try await node.create()
            #expect(try await shell(node, "ls /run/here || ls /var/lib/kubelet").text == "here\n")
        }
    }

    @Test func leftoversAreFoundByNameAlone() async throws {
        try await withStage { stage in
            try Files.makeDirectories("\(stage.folder)/shared")
            var plan = try FabricPlan.choose(racks: 1, occupied: [])
            let place = try plan.addNode("one")
            let resolvers = Resolvers(nameservers: [plan.hostAddress], loopback: IPAddress(127, 0, 0, 1))
            let fabric = Fabric(profile: stage.profile, plan: plan, runDirectory: stage.run, resolvers: resolvers)
            try Namespaces.inNamespaces(net: stage.host) { try fabric.create() }
            let node = stage.node("one", resolvers)
            try await node.create()
            try fabric.attach(place, to: node.net)
            // One process in its group, one that only entered its namespaces.
            let inside = try node.spawner("/bin/sleep", ["1000"]).spawn()
            var stray = node.spawner("/bin/sleep", ["1000"])
            stray.cgroup = nil
            let outside = try stray.spawn()
            try await Fabric.destroyEverything(
                profile: stage.profile, runDirectory: stage.run, stateDirectory: stage.state, removeFiles: true,
                host: stage.host)
            #expect(await inside.wait() == .signalled(SIGKILL))
            #expect(await outside.wait() == .signalled(SIGKILL))
            #expect(!Files.exists(stage.run) && !Files.exists(node.stateFolder))
            #expect(try !CgroupLayout.detect().exists("/catbird/\(stage.profile)"))
            #expect(try Mounts.list().allSatisfy { !$0.isBelow(stage.run) && !$0.isBelow(stage.state) })
            let host = try NetlinkSocket(in: stage.host)
            #expect(try Set(host.links().map(\.name)) == ["lo", "outside"])
            try await Fabric.destroyEverything(
                profile: stage.profile, runDirectory: stage.run, stateDirectory: stage.state, removeFiles: true,
                host: stage.host)
        }
    }
}
