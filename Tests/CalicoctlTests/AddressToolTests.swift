// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import APIServer
import Calicoctl
import KubeClient
import KubeObjects
import Synchronization
import Testing
import Values

extension Fixture {
    /// A line of `catbird`, such as `explain ip 10.0.0.1`.
    func ask(_ line: String, input: String = "") async -> Run {
        let output = Mutex("")
        let errors = Mutex("")
        let code = await AddressTool.run(
            line.split(separator: " ").map(String.init), input: { Array(input.utf8) }, client: client,
            output: { text in output.withLock { $0 += text } }, errors: { text in errors.withLock { $0 += text } })
        return Run(code: code, output: output.withLock { $0 }, errors: errors.withLock { $0 })
    }

    /// Two racks, one node and one pod with an address in each; a third node has borrowed an address.
    static func racks() async throws -> Fixture {
        let fixture = try await Fixture()
        try await fixture.client.create(
            .serviceAccounts,
            KubeObject([
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": ["name": "default", "namespace": "default"],
            ]))
        for (node, zone) in [("node-a", "east"), ("node-b", "west"), ("node-c", "east")] {
            try await fixture.node(node, zone)
        }
        _ = await fixture.run("apply -f -", input: Fixture.pools)
        try await fixture.block(
            "192.168.0.0/26", of: "node-a",
            [
                (0, "web", "node-a"), (1, "lent", "node-c"),
            ])
        try await fixture.block("192.168.1.0/26", of: "node-b", [(0, "west", "node-b")])
        return fixture
    }

    func node(_ name: String, _ zone: String) async throws {
        try await client.create(
            .nodes,
            KubeObject([
                "apiVersion": "v1", "kind": "Node", "metadata": ["name": JSON(name), "labels": ["zone": JSON(zone)]],
            ]))
    }

    /// A block with its claim, its handles and the pods that its addresses are of.
    func block(_ cidr: String, of owner: String, _ users: [(ordinal: Int, pod: String, node: String)]) async throws {
        let name = cidr.map { ".:/".contains($0) ? "-" : String($0) }.joined()
        guard let network = CIDR(cidr) else { return }
        var allocations = [JSON](repeating: .null, count: 1 << network.hostBits)
        for (index, user) in users.enumerated() { allocations[user.ordinal] = JSON(index) }
        let attributes: [JSON] = users.map { user in
            [
                "handle_id": JSON("net.\(user.pod)"),
                "secondary": [
                    "pod": JSON(user.pod), "namespace": "default", "node": JSON(user.node),
                    "timestamp": "2026-11-24 01:02:03 +0000 UTC",
                ],
            ]
        }
        let free = allocations.indices.filter { allocations[$0] == .null }
        try await create(
            "IPAMBlock", .ipamBlocks, name,
            [
                "cidr": JSON(cidr), "affinity": JSON("host:\(owner)"), "strictAffinity": false,
                "allocations": .array(allocations), "attributes": .array(attributes),
                "unallocated": .array(free.map { JSON($0) }),
            ])
        try await create(
            "BlockAffinity", .blockAffinities, "\(owner)-\(name)",
            [
                "cidr": JSON(cidr), "node": JSON(owner), "state": "confirmed", "deleted": "false", "type": "host",
            ])
        for user in users {
            try await create(
                "IPAMHandle", .ipamHandles, "net.\(user.pod)",
                [
                    "handleID": JSON("net.\(user.pod)"), "block": [cidr: 1], "deleted": false,
                ])
            try await pod(user.pod, user.node, network[UInt128(user.ordinal)])
        }
    }

    func create(_ kind: String, _ resource: GroupVersionResource, _ name: String, _ spec: JSON) async throws {
        try await client.create(
            resource,
            KubeObject([
                "apiVersion": "crd.projectcalico.org/v1", "kind": JSON(kind), "metadata": ["name": JSON(name)],
                "spec": spec,
            ]))
    }

    func pod(_ name: String, _ node: String, _ address: IPAddress?) async throws {
        var pod = try await client.create(
            .pods,
            KubeObject([
                "apiVersion": "v1", "kind": "Pod", "metadata": ["name": JSON(name), "namespace": "default"],
                "spec": ["nodeName": JSON(node), "containers": [["name": "c", "image": "i"]]],
            ]))
        guard let address else { return }
        pod["status"] = ["phase": "Running", "podIP": JSON("\(address)"), "podIPs": [["ip": JSON("\(address)")]]]
        try await client.update(.pods, pod, subresource: "status")
    }
}

/// A cluster that does not serve some of the kinds.
private struct WithoutKinds: APITransport {
    let inner: any APITransport
    let missing: Set<String>

    func send(_ request: APIRequest) async throws -> APIResponse {
        guard missing.contains(where: { request.path.hasSuffix("/\($0)") }) else {
            return try await inner.send(request)
        }
        return APIResponse(status: 404, body: .bytes(Array("404 page not found".utf8)))
    }
}

@Suite struct AddressToolTests {
    @Test func clustersWithoutCalicoOrWithAnOlderOne() async throws {
        let fixture = try await Fixture.racks()
        func ask(without kinds: Set<String>) async -> (code: Int32, errors: String) {
            let errors = Mutex("")
            let client = KubeClient(WithoutKinds(inner: fixture.client.transport, missing: kinds))
            let code = await AddressTool.run(
                ["explain", "pod/web"], input: { [] }, client: client, output: { _ in },
                errors: { text in errors.withLock { $0 += text } })
            return (code, errors.withLock { $0 })
        }
        let other = await ask(without: ["ippools", "ipamblocks", "blockaffinities", "ipamhandles", "ipreservations"])
        #expect(other.code == 1)
        #expect(other.errors.contains("does not serve ippools"), "\(other.errors)")
        let older = await ask(without: ["ipreservations"])
        #expect(older.code == 0, "\(older.errors)")
    }

    @Test func explainsAPod() async throws {
        let fixture = try await Fixture.racks()
        let web = await fixture.ask("explain pod/web")
        #expect(web.code == 0, "\(web.errors)")
        #expect(web.output.contains("192.168.0.0") && web.output.contains("east") && web.output.contains("node-a"))
        #expect(web.output.contains("west"), "the rejected pool is named: \(web.output)")
        let json = try JSON(parsing: await fixture.ask("explain pod web -o json").output)
        #expect(json["addresses"].array?.first?["pool"].string?.contains("east") == true)
        let lent = await fixture.ask("explain pod/lent -n default")
        #expect(lent.output.contains("borrow"), "\(lent.output)")
    }

    @Test func explainsAnAddress() async throws {
        let fixture = try await Fixture.racks()
        let held = await fixture.ask("explain ip 192.168.0.1")
        #expect(held.output.contains("pod default/lent"), "\(held.output)")
        let free = await fixture.ask("explain ip 192.168.0.9")
        #expect(free.code == 0 && free.output.contains("192.168.0.9 is free"), "\(free.output)")
        let outside = await fixture.ask("explain ip 10.1.1.1")
        #expect(outside.output.contains("pool"), "\(outside.output)")
    }

    @Test(arguments: [
        ("explain pod/none", 1, "there is no pod default/none"),
        ("explain pod/web -n other", 1, "there is default/web"),
        ("explain ip 1.2.3", 64, "'1.2.3' is not an address"), ("explain frob/x", 64, "explain takes pod/NAME"),
        ("ipam frob", 64, "catbird ipam frob is not known"), ("ipam show -o xml", 64, "text, json, svg"),
        ("ipam plan", 64, "plan needs a change"), ("ipam plan --nodes many", 64, "--nodes many"),
        ("ipam migrate", 64, "takes the pool to drain"), ("ipam migrate east", 64, "--to CIDR"),
        ("ipam migrate north --to 10.0.0.0/24", 1, "there is no pool north"),
        ("ipam migrate east --to 192.168.1.0/24", 1, "network of pool west"),
    ])
    func refuses(line: String, code: Int, message: String) async throws {
        let result = await (try await Fixture.racks()).ask(line)
        #expect(Int(result.code) == code)
        #expect(result.errors.contains(message), "\(result.errors)")
    }

    @Test func drawsPoolsBlocksAndNodes() async throws {
        let fixture = try await Fixture.racks()
        let text = await fixture.ask("ipam show").output
        #expect(text.contains("east (192.168.0.0/24)\n  2 of 256 addresses in use, 1 of 4 blocks of /26 claimed"))
        #expect(text.contains("  [a...]\n  a node-a  192.168.0.0/26"), "\(text)")
        #expect(text.contains("2 of 64, 1 lent to node-c"))
        let svg = await fixture.ask("ipam show -o svg").output
        #expect(svg.hasPrefix("<svg xmlns=") && svg.hasSuffix("</svg>\n"))
        #expect(svg.contains("zone == &quot;east&quot; selects 2 nodes"))
        let json = try JSON(parsing: await fixture.ask("ipam show -o json").output)
        #expect(json["pools"].array?.first?["claimed"].array?.first?["lent"]["node-c"].int == 1)
    }

    @Test func plansAChange() async throws {
        let fixture = try await Fixture.racks()
        let moved = await fixture.ask(
            "ipam plan -f -",
            input: """
                apiVersion: v1
                kind: Node
                metadata: {name: node-a, labels: {zone: west}}
                """)
        #expect(moved.code == 0, "\(moved.errors)")
        #expect(moved.output.contains("default/web 192.168.0.0 (east -> west)"), "\(moved.output)")
        let refused = await fixture.ask(
            "ipam plan -f - -o json",
            input: """
                apiVersion: projectcalico.org/v3
                kind: IPPool
                metadata: {name: both}
                spec: {cidr: 192.168.0.0/23}
                """)
        #expect(refused.code == 1)
        #expect(try JSON(parsing: refused.output)["errors"].array?.isEmpty == false)
        let grown = await fixture.ask("ipam plan --nodes 3 --pods 1000")
        #expect(grown.output.contains("would get no address"), "\(grown.output)")
        let gone = await fixture.ask("ipam plan --delete east")
        #expect(gone.output.contains("2 would get no address when made anew"), "\(gone.output)")
    }

    @Test func checksAndMends() async throws {
        let fixture = try await Fixture.racks()
        #expect(await fixture.ask("ipam check").code == 0)
        try await fixture.create(
            "IPAMHandle", .ipamHandles, "net.gone",
            [
                "handleID": "net.gone", "block": ["192.168.0.0/26": 1], "deleted": false,
            ])
        try await fixture.client.delete(.blockAffinities, "node-b-192-168-1-0-26")
        let found = await fixture.ask("ipam check -o json")
        #expect(found.code == 1)
        let kinds = try JSON(parsing: found.output)["findings"].array?.compactMap { $0["kind"].string }
        #expect(Set(kinds ?? []) == ["strayHandle", "missingClaim"], "\(found.output)")
        let mended = await fixture.ask("ipam check --fix")
        #expect(mended.code == 0, "\(mended.output)\(mended.errors)")
        #expect(mended.output.contains("Mended: handle net.gone"))
        #expect(try await fixture.client.list(.blockAffinities).items.count == 2)
        #expect(await fixture.ask("ipam check").output.hasPrefix("All agree: 2 blocks, 2 claims, 3 handles"))
    }

    @Test func leavesALockedDatastoreAlone() async throws {
        let fixture = try await Fixture.racks()
        try await fixture.create("ClusterInformation", .clusterInformations, "default", ["datastoreReady": false])
        try await fixture.create(
            "IPAMHandle", .ipamHandles, "net.gone", ["handleID": "net.gone", "block": [:], "deleted": false])
        let refused = await fixture.ask("ipam check --fix")
        #expect(refused.code == 1 && refused.errors.contains("datastore migrate unlock"), "\(refused)")
        #expect(await fixture.ask("ipam migrate east --to 10.9.0.0/24").errors.contains("locked"))
    }

    @Test func migratesAPoolInSteps() async throws {
        let fixture = try await Fixture.racks()
        let dry = await fixture.ask("ipam migrate west --block-size 28 --dry-run")
        #expect(
            dry.output.contains("Would create pool west-2") && dry.output.contains("Would delete pool west"), "\(dry)")
        #expect(try await fixture.client.list(.ipPools).items.count == 2)
        let first = await fixture.ask("ipam migrate west --to 10.99.0.0/24 --block-size 28")
        #expect(first.code == 2, "\(first)")
        #expect(first.output.contains("Block 192.168.1.0/26 is still in use: 192.168.1.0 of pod default/west"))
        let made = try await fixture.client.get(.ipPools, "west-2")
        #expect(made["spec"]["cidr"].string == "10.99.0.0/24" && made["spec"]["blockSize"].int == 28)
        #expect(made["spec"]["nodeSelector"].string == "zone == \"west\"")
        #expect(try await fixture.client.get(.ipPools, "west")["spec"]["disabled"].bool == true)
        // The pod goes and its address with it, as its DEL would do; then the same command ends the migration.
        try await fixture.client.delete(.pods, "west", in: "default", gracePeriodSeconds: 0)
        _ = await fixture.ask("ipam check --fix")
        let second = await fixture.ask("ipam migrate west --to 10.99.0.0/24 --block-size 28")
        #expect(second.code == 0, "\(second)")
        #expect(second.output.contains("Release block 192.168.1.0/26") && second.output.contains("Delete pool west"))
        #expect(try await fixture.client.list(.ipamBlocks).items.map(\.name) == ["192-168-0-0-26"])
    }

    @Test func warnsOfAPoolThatIsTooSmallOrSelectsNoNode() async throws {
        let fixture = try await Fixture.racks()
        let text = """
            apiVersion: projectcalico.org/v3
            kind: IPPool
            metadata: {name: tiny}
            spec: {cidr: 10.8.0.0/26, nodeSelector: 'zone == "east"'}
            ---
            apiVersion: projectcalico.org/v3
            kind: IPPool
            metadata: {name: nowhere}
            spec: {cidr: 10.8.1.0/24, nodeSelector: 'zone == "north"'}
            """
        let made = await fixture.run("create -f -", input: text)
        #expect(made.code == 0)
        #expect(made.errors.contains("Warning: pool tiny (10.8.0.0/26) has 1 blocks of /26"), "\(made.errors)")
        #expect(made.errors.contains("selects none of the 3 nodes"), "\(made.errors)")
        // Nothing new to say when only a label changes.
        #expect(await fixture.run("label ippool tiny a=b").errors == "")
    }
}
