// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite struct PoolTests {
    private static let groups = ["/apis/projectcalico.org/v3/ippools", "/apis/crd.projectcalico.org/v1/ippools"]

    private func pool(_ name: String, _ cidr: String) -> JSON {
        ["metadata": ["name": JSON(name)], "spec": ["cidr": JSON(cidr), "nodeSelector": "all()"]]
    }

    @Test(arguments: groups) func poolsThatClashAreRefusedWithTheWayOut(_ path: String) async throws {
        let fixture = try await Fixture()
        #expect(try await fixture.send("POST", Self.groups[0], pool("first", "10.1.0.0/16")).status == 201)
        let overlap = try await fixture.send("POST", path, pool("second", "10.1.4.0/24"))
        #expect(overlap.status == 422)
        #expect(overlap.json["reason"].string == "Invalid")
        #expect(overlap.json["details"]["causes"][0]["field"].string == "spec.cidr")
        #expect(overlap.json["message"].string?.contains("first") == true)
        // With host bits a pool is its network: alone it is let in with a warning, beside another it is refused.
        let alone = try await fixture.send("POST", path, pool("third", "10.244.102.1/24"))
        #expect(alone.status == 201)
        #expect(
            alone.header("Warning") == "299 - \"spec.cidr 10.244.102.1/24 has host bits set: the pool is the network "
                + "10.244.102.0/24\"")
        let hostBits = try await fixture.send("POST", path, pool("twin", "10.244.102.2/24"))
        #expect(hostBits.status == 422)
        #expect(
            hostBits.json["message"].string?.contains(
                "the address has host bits set: the /24 network that holds it is 10.244.102.0/24, which is the network of "
                    + "pool third (10.244.102.0/24); ") == true)
        var same = alone.json
        same["spec"]["natOutgoing"] = true
        let changed = try await fixture.send("PUT", "\(path)/third", same)
        #expect(changed.status == 200 && changed.header("Warning") == nil, "\(changed)")
        let tiny = try await fixture.send("POST", path, pool("fourth", "10.9.0.0/28"))
        #expect(tiny.status == 422)
    }

    @Test func bothGroupsServeOneSetOfObjects() async throws {
        let fixture = try await Fixture()
        let watch = try await fixture.watch(Self.groups[1])
        let made = try await fixture.send("POST", Self.groups[0], pool("p", "10.1.0.0/16"))
        #expect(made.json["apiVersion"].string == "projectcalico.org/v3")
        let event = try await watch.next()
        #expect(event["object"]["apiVersion"].string == "crd.projectcalico.org/v1")
        let read = try await fixture.send("GET", Self.groups[1] + "/p")
        #expect(read.json["apiVersion"].string == "crd.projectcalico.org/v1")
        #expect(read.json["metadata"]["uid"] == made.json["metadata"]["uid"])
        let list = try await fixture.send("GET", Self.groups[1])
        #expect(list.json["items"][0]["apiVersion"].string == "crd.projectcalico.org/v1")
        #expect(try await fixture.send("DELETE", Self.groups[1] + "/p").status == 200)
        #expect(try await fixture.send("GET", Self.groups[0] + "/p").status == 404)
    }

    @Test func ofPoolsThatRaceOneWins() async throws {
        let fixture = try await Fixture()
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<12 {
                group.addTask {
                    try await fixture.send(
                        "POST", Self.groups[index % 2], pool("p\(index)", "10.1.0.0/16")
                    ).status
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses.filter { $0 == 201 }.count == 1)
        #expect(statuses.filter { $0 == 422 }.count == 11)
    }
}

/// Calico's rules hold through both groups, whoever writes.
@Suite struct CalicoRuleTests {
    static let rows: [(String, String, JSON, String)] = [
        ("ippools", "p", ["cidr": "10.0.0.0/24", "blockSize": "x"], "spec.blockSize"),
        ("ippools", "p", [:], "spec.cidr"), ("bgppeers", "p", ["peerIP": "frob", "asNumber": 1], "spec.peerIP"),
        ("bgppeers", "p", ["peerIP": "192.0.2.1", "asNumber": "one"], "spec.asNumber"),
        (
            "bgpfilters", "f", ["exportV4": [["action": "Accept", "cidr": "10.0.0.0/8"]]],
            "spec.exportV4[0].matchOperator"
        ),
        ("bgpconfigurations", "default", ["asNumber": 0], "spec.asNumber"),
        ("felixconfigurations", "other", [:], "metadata.name"),
        ("felixconfigurations", "default", ["vxlanPort": 70000], "spec.vxlanPort"),
        ("globalnetworksets", "s", ["nets": ["frob"]], "spec.nets[0]"),
        ("hostendpoints", "e", ["node": "n"], "spec.interfaceName"),
        ("globalnetworkpolicies", "g", ["selector": "a ="], "spec.selector"),
        ("tiers", "t", ["defaultAction": "Maybe"], "spec.defaultAction"),
        ("ipamhandles", "h", ["handleID": "h", "block": ["frob": 1]], "spec.block[frob]"),
        ("ipreservations", "r", ["reservedCIDRs": ["x"]], "spec.reservedCIDRs[0]"),
    ]

    @Test(arguments: rows) func refused(resource: String, name: String, spec: JSON, field: String) async throws {
        let fixture = try await Fixture()
        for group in ["crd.projectcalico.org/v1", "projectcalico.org/v3"] {
            let reply = try await fixture.send(
                "POST", "/apis/\(group)/\(resource)", ["metadata": ["name": JSON(name)], "spec": spec])
            #expect(reply.status == 422, "\(group): \(reply.json)")
            #expect(reply.json["details"]["causes"].array?.map { $0["field"].string } == [field], "\(reply.json)")
        }
        let list = try await fixture.send("GET", "/apis/projectcalico.org/v3/\(resource)")
        #expect(list.json["items"].array?.isEmpty == true)
    }

    /// Of a claim, the two groups have `deleted` in two types.
    @Test(arguments: [("crd.projectcalico.org/v1", JSON("false")), ("projectcalico.org/v3", JSON(false))])
    func claims(group: String, deleted: JSON) async throws {
        let fixture = try await Fixture()
        func send(_ name: String, _ cidr: String) async throws -> Fixture.Answer {
            try await fixture.send(
                "POST", "/apis/\(group)/blockaffinities",
                [
                    "metadata": ["name": JSON(name)],
                    "spec": ["cidr": JSON(cidr), "node": "n", "state": "confirmed", "deleted": deleted],
                ])
        }
        for (name, cidr, field) in [("x", "frob", "spec.cidr"), ("x", "10.0.0.0/26", "metadata.name")] {
            let reply = try await send(name, cidr)
            #expect(reply.json["details"]["causes"].array?.map { $0["field"].string } == [field], "\(reply.json)")
        }
        #expect(try await send("n-10-0-0-0-26", "10.0.0.0/26").status == 201)
    }

    @Test func aBlockIsNotChangedIntoAnother() async throws {
        let fixture = try await Fixture()
        let path = "/apis/crd.projectcalico.org/v1/ipamblocks"
        func block(_ cidr: String) -> JSON {
            [
                "cidr": JSON(cidr), "allocations": [nil, nil, nil, nil], "attributes": [], "strictAffinity": false,
                "unallocated": [0, 1, 2, 3],
            ]
        }
        let wrong = try await fixture.send("POST", path, ["metadata": ["name": "x"], "spec": block("10.0.0.0/30")])
        #expect(wrong.json["details"]["causes"][0]["field"].string == "metadata.name")
        let made = try await fixture.send(
            "POST", path, ["metadata": ["name": "10-0-0-0-30"], "spec": block("10.0.0.0/30")])
        #expect(made.status == 201, "\(made.json)")
        var changed = made.json
        changed["spec"]["cidr"] = "10.0.0.4/30"
        let refused = try await fixture.send("PUT", path + "/10-0-0-0-30", changed)
        #expect(refused.status == 422)
        var broken = made.json
        broken["spec"]["allocations"] = [nil]
        #expect(try await fixture.send("PUT", path + "/10-0-0-0-30", broken).status == 422)
    }

    @Test func whatHasNoEffectYetSaysSo() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send(
            "POST", "/apis/projectcalico.org/v3/globalnetworkpolicies",
            ["metadata": ["name": "g"], "spec": ["selector": "all()"]])
        #expect(made.status == 201, "\(made.json)")
        #expect(made.header("Warning")?.contains("does not enforce network policy") == true)
    }
}
