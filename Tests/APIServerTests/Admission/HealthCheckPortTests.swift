// SPDX-License-Identifier: Apache-2.0

import APIServer
import KubeClient
import KubeObjects
import Storage
import Testing
import Values

/// The port by which load balancers ask nodes whether they have pods of a Service.
@Suite struct HealthCheckPortTests {
    private static let path = "/api/v1/namespaces/default/services"

    private static func service(_ name: String, policy: String = "Local", _ more: JSON = [:]) -> JSON {
        var service: JSON = [
            "metadata": ["name": JSON(name)],
            "spec": ["type": "LoadBalancer", "externalTrafficPolicy": JSON(policy), "ports": [["port": 80]]],
        ]
        for (field, value) in more.object ?? [:] { service["spec"][field] = value }
        return service
    }

    private func patch(_ fixture: Fixture, _ name: String, _ spec: JSON) async throws -> Fixture.Answer {
        try await fixture.send(
            "PATCH", "\(Self.path)/\(name)", ["spec": spec], type: "application/merge-patch+json")
    }

    private static func port(_ answer: Fixture.Answer) -> Int? { answer.json["spec"]["healthCheckNodePort"].int }

    @Test func aServiceHasOneForAsLongAsItNeedsOne() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send("POST", Self.path, Self.service("web"))
        let port = try #require(Self.port(made))
        #expect((30000...32767).contains(port) && made.json["spec"]["ports"][0]["nodePort"].int != port)
        // Who leaves it out keeps it, in an update and in a patch; nobody changes it.
        var sent = made.json
        sent["spec"]["healthCheckNodePort"] = nil
        sent["metadata"]["labels"] = ["a": "b"]
        #expect(Self.port(try await fixture.send("PUT", "\(Self.path)/web", sent)) == port)
        let other = port == 30000 ? 30001 : port - 1
        let changed = try await patch(fixture, "web", ["healthCheckNodePort": JSON(other)])
        #expect(changed.status == 422)
        #expect(
            changed.json["message"].string
                == "Service \"web\" is invalid: spec.healthCheckNodePort: Forbidden: field is immutable")
        // Another Service cannot have it, as long as this one has.
        func taken(by spec: JSON) async throws -> Fixture.Answer {
            try await fixture.send("POST", Self.path, Self.service("other", policy: "Cluster", spec))
        }
        let asNodePort: JSON = ["ports": [["port": 80, "nodePort": JSON(port)]]]
        let refused = try await taken(by: asNodePort)
        #expect(refused.status == 422)
        #expect(
            refused.json["message"].string?.hasSuffix(
                "spec.ports[0].nodePort: Invalid value: \(port): provided port is already allocated") == true)
        let cluster = try await patch(fixture, "web", ["externalTrafficPolicy": "Cluster"])
        #expect(cluster.status == 200 && cluster.json["spec"]["healthCheckNodePort"] == nil)
        #expect(try await taken(by: asNodePort).status == 201)
        // It is allocated anew, and given back with the type.
        let again = try await patch(fixture, "web", ["externalTrafficPolicy": "Local"])
        let second = try #require(Self.port(again))
        #expect(second != port)
        let plain = try await patch(fixture, "web", ["type": "ClusterIP"])
        #expect(plain.status == 200 && plain.json["spec"]["healthCheckNodePort"] == nil)
        #expect(plain.json["spec"]["externalTrafficPolicy"] == nil)
        #expect(
            Self.port(
                try await fixture.send(
                    "POST", Self.path, Self.service("third", ["healthCheckNodePort": JSON(second)]))) == second)
    }

    @Test func aServiceFromBeforeGetsOneWithItsNextChange() async throws {
        let fixture = try await Fixture()
        var stored = try await fixture.send("POST", Self.path, Self.service("web")).json
        stored["spec"]["healthCheckNodePort"] = nil
        stored["metadata"]["resourceVersion"] = nil
        _ = try await fixture.storage.put(
            "/registry/core/services/default/web", stored.serialized(), expecting: nil)
        let before = try await fixture.send("GET", "\(Self.path)/web")
        #expect(before.status == 200 && Self.port(before) == nil)
        let labelled = try await fixture.send(
            "PATCH", "\(Self.path)/web", ["metadata": ["labels": ["a": "b"]]], type: "application/merge-patch+json")
        #expect(labelled.status == 200 && Self.port(labelled) != nil, "\(labelled.json)")
    }

    @Test func whatIsAskedForIsHadOrRefused() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send("POST", Self.path, Self.service("a", ["healthCheckNodePort": 31000]))
        #expect(Self.port(made) == 31000)
        for (name, spec, status, message) in [
            (
                "b", ["healthCheckNodePort": 31000], 422,
                "Service \"b\" is invalid: spec.healthCheckNodePort: Invalid value: 31000: provided port is already "
                    + "allocated"
            ),
            (
                "c", ["healthCheckNodePort": 80], 422,
                "Service \"c\" is invalid: spec.healthCheckNodePort: Invalid value: 80: provided port is not in the "
                    + "valid range. The range of valid ports is 30000-32767"
            ),
            // Neither does it share one with the Service's own ports.
            (
                "d", ["healthCheckNodePort": 31001, "ports": [["port": 80, "nodePort": 31001]]], 422,
                "Service \"d\" is invalid: spec.healthCheckNodePort: Invalid value: 31001: provided port is already "
                    + "allocated"
            ),
            (
                "e", ["healthCheckNodePort": 31002, "externalTrafficPolicy": "Cluster"], 422,
                "Service \"e\" is invalid: spec.healthCheckNodePort: Invalid value: 31002: may only be set when `type` "
                    + "is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            ),
        ] as [(String, JSON, Int, String)] {
            let refused = try await fixture.send("POST", Self.path, Self.service(name, spec))
            #expect(refused.status == status && refused.json["message"].string == message, "\(refused.json)")
        }
        let own = try await patch(fixture, "a", ["ports": [["port": 80, "nodePort": 31000]]])
        #expect(own.status == 422)
        let tried = try await fixture.send(
            "POST", "\(Self.path)?dryRun=All", Self.service("f", ["healthCheckNodePort": 31003]))
        #expect(Self.port(tried) == 31003)
        _ = try await fixture.send("DELETE", "\(Self.path)/a")
        let free = try await fixture.send("POST", Self.path, Self.service("g", ["healthCheckNodePort": 31000]))
        #expect(Self.port(free) == 31000)
    }
}
