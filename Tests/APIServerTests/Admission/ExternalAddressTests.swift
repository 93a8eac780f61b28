// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// externalIPs that belong to somebody are refused with the owner and the next step.
@Suite struct ExternalAddressTests {
    private func service(_ name: String, _ addresses: [String]) -> KubeObject {
        var service = KubeObject(.services, kind: "Service", name: name, namespace: "default")
        service["spec"] = [
            "ports": [["port": 8099, "targetPort": 8080]], "selector": ["app": "x"], "externalIPs": JSON(addresses),
        ]
        return service
    }

    private func cluster() async throws -> Fixture {
        let fixture = try await Fixture()
        var node = KubeObject(.nodes, kind: "Node", name: "lab")
        node["metadata"]["annotations"] = [
            "projectcalico.org/IPv4Address": "192.168.49.2/24", "projectcalico.org/IPv4VXLANTunnelAddr": "172.20.0.1",
        ]
        _ = try await fixture.client.create(.nodes, node)
        _ = try await fixture.client.patch(
            .nodes, "lab", type: .merge,
            [
                "status": [
                    "addresses": [
                        ["type": "InternalIP", "address": "192.168.49.2"],
                        ["type": "ExternalIP", "address": "203.0.113.7"],
                    ]
                ]
            ], subresource: "status")
        var pool = KubeObject(.ipPools, kind: "IPPool", name: "pods")
        pool["spec"] = ["cidr": "10.244.0.0/16", "nodeSelector": "all()"]
        _ = try await fixture.client.create(.ipPools, pool)
        return fixture
    }

    @Test(arguments: [
        ("192.0.2.1", "the API server's address"), ("127.0.0.1", "may not be in the loopback range"),
        ("10.96.0.10", "in ServiceCIDR kubernetes (10.96.0.0/12)"), ("10.244.3.4", "in pool pods (10.244.0.0/16)"),
    ])
    func somebodysAddressIsRefused(_ address: String, _ owner: String) async throws {
        let fixture = try await cluster()
        do {
            _ = try await fixture.client.create(.services, service("thief", ["198.51.100.1", address]))
            Issue.record("\(address) was admitted")
        } catch let error as APIError {
            #expect(error.code == 422)
            let text = error.message
            #expect(text.contains("spec.externalIPs[1]: Invalid value: \"\(address)\": "), "\(text)")
            #expect(text.contains(owner), "\(text)")
            #expect(text.contains("use type NodePort or LoadBalancer") || address == "127.0.0.1", "\(text)")
        }
    }

    /// Manifests for other clusters have them: upstream admits them too.
    @Test(arguments: ["192.168.49.2", "203.0.113.7", "172.20.0.1"])
    func aNodesAddressIsAdmittedWithAWarning(_ address: String) async throws {
        let fixture = try await cluster()
        let path = "/api/v1/namespaces/default/services"
        func warnings(_ answer: Fixture.Answer) -> [String] { answer.headers.filter { $0.0 == "Warning" }.map(\.1) }
        let made = try await fixture.send("POST", path, service("web", ["198.51.100.1", address]).json)
        #expect(made.status == 201 && made.json["spec"]["externalIPs"][1].string == address, "\(made.json)")
        #expect(
            warnings(made).first?.contains(
                "spec.externalIPs[1]: \(address) is node lab's own address, and is not acted upon") == true,
            "\(warnings(made))")
        // Who changes something else hears nothing of it, who asks for it by an update does.
        func patch(_ name: String, _ body: JSON) async throws -> Fixture.Answer {
            try await fixture.send("PATCH", "\(path)/\(name)", body, type: "application/merge-patch+json")
        }
        #expect(warnings(try await patch("web", ["metadata": ["labels": ["a": "b"]]])).isEmpty)
        _ = try await fixture.send("POST", path, service("late", ["198.51.100.1"]).json)
        let changed = try await patch("late", ["spec": ["externalIPs": [JSON(address)]]])
        #expect(changed.status == 200 && warnings(changed).count == 1, "\(changed.json) \(warnings(changed))")
    }

    @Test func nobodysAddressIsAdmittedAndWhatIsStoredStaysEditable() async throws {
        let fixture = try await cluster()
        _ = try await fixture.client.create(.services, service("web", ["198.51.100.1"]))
        // A node that comes later with the same address does not make the Service unchangeable.
        var node = KubeObject(.nodes, kind: "Node", name: "late")
        node["metadata"]["annotations"] = ["projectcalico.org/IPv4Address": "198.51.100.1/24"]
        _ = try await fixture.client.create(.nodes, node)
        _ = try await fixture.client.patch(
            .services, "web", in: "default", type: .merge, ["metadata": ["labels": ["a": "b"]]])
        // But another address that is somebody's cannot come in by an update either.
        await #expect(throws: APIError.self) {
            _ = try await fixture.client.patch(
                .services, "web", in: "default", type: .merge,
                ["spec": ["externalIPs": ["198.51.100.1", "10.244.3.4"]]])
        }
        try await fixture.client.delete(.services, "web", in: "default")
    }
}
