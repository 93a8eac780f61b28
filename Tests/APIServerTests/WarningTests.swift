// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// What clients hear of a write that is accepted.
@Suite struct WarningTests {
    private static let services = "/api/v1/namespaces/default/services"

    private func warnings(_ answer: Fixture.Answer) -> [String] {
        answer.headers.filter { $0.0 == "Warning" }.map(\.1)
    }

    @Test func whatNothingActsUponIsSaid() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send(
            "POST", Self.services,
            [
                "metadata": ["name": "web"],
                "spec": ["sessionAffinity": "ClientIP", "trafficDistribution": "PreferClose", "ports": [["port": 80]]],
            ])
        #expect(made.status == 201)
        let words =
            "299 - \"spec.trafficDistribution is stored; every endpoint is as near as any other\""
        #expect(warnings(made) == [words])
        func patch(_ body: JSON) async throws -> Fixture.Answer {
            try await fixture.send("PATCH", Self.services + "/web", body, type: "application/merge-patch+json")
        }
        #expect(warnings(try await patch(["metadata": ["labels": ["a": "b"]]])).isEmpty)
        #expect(warnings(try await patch(["spec": ["ports": [["port": 81]]]])) == [words])
        // Switched off, it is as if it had never been: what belonged to it goes with it.
        let off = try await patch(["spec": ["sessionAffinity": "None", "trafficDistribution": nil]])
        #expect(off.status == 200 && off.json["spec"]["sessionAffinityConfig"] == nil, "\(off.json)")
        #expect(warnings(off).isEmpty)
        let job = try await fixture.send(
            "POST", "/apis/batch/v1/namespaces/default/jobs",
            [
                "metadata": ["name": "j"],
                "spec": [
                    "template": ["spec": ["restartPolicy": "Never", "containers": [["name": "c", "image": "i"]]]]
                ],
            ])
        #expect(job.status == 201, "\(job.json)")
        #expect(warnings(job).count == 1 && warnings(job)[0].hasPrefix("299 - \"Job is stored; no controller"))
    }

    @Test func aBoundPodHasTheGenerationOfItsMaking() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.nodes, KubeObject(.nodes, kind: "Node", name: "n1"))
        let made = try await fixture.client.create(.pods, pod("web"))
        _ = try await fixture.client.create(
            .pods, name: "web", in: "default", subresource: "binding",
            ["metadata": ["name": "web"], "target": ["kind": "Node", "name": "n1"]])
        let bound = try await fixture.client.get(.pods, "web", in: "default")
        #expect(made.generation == 1 && bound.generation == 1 && bound["spec"]["nodeName"] == "n1")
    }

    @Test func reservationsNameAddressesAsWellAsNetworks() async throws {
        let fixture = try await Fixture()
        for group in ["projectcalico.org/v3", "crd.projectcalico.org/v1"] {
            let name = group.hasPrefix("crd") ? "b" : "a"
            let made = try await fixture.send(
                "POST", "/apis/\(group)/ipreservations",
                [
                    "metadata": ["name": JSON(name)],
                    "spec": ["reservedCIDRs": ["10.244.9.9", "10.244.9.10/32", "fd00::1"]],
                ])
            #expect(made.status == 201, "\(made.json)")
            let refused = try await fixture.send(
                "POST", "/apis/\(group)/ipreservations",
                ["metadata": ["name": "c"], "spec": ["reservedCIDRs": ["all"]]])
            #expect(refused.status == 422)
        }
    }
}
