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
        let hostBits = try await fixture.send("POST", path, pool("third", "10.244.102.1/24"))
        #expect(hostBits.status == 422)
        #expect(hostBits.json["message"].string?.contains("10.244.102.0/24") == true)
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
