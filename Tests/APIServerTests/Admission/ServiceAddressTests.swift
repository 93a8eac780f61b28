// SPDX-License-Identifier: Apache-2.0

import APIServer
import KubeClient
import KubeObjects
import Storage
import Testing
import Values

/// Where Services get their addresses from, and the IPAddress objects of these.
@Suite struct ServiceAddressTests {
    private static let ranges = GroupVersionResource("networking.k8s.io", "v1", "servicecidrs")
    private static let addresses = GroupVersionResource("networking.k8s.io", "v1", "ipaddresses")
    private static let path = "/api/v1/namespaces/default/services"

    private static func service(_ name: String, _ address: String? = nil, type: String = "ClusterIP") -> JSON {
        var service: JSON = [
            "metadata": ["name": JSON(name)], "spec": ["type": JSON(type), "ports": [["port": 80]]],
        ]
        if let address { service["spec"]["clusterIP"] = JSON(address) }
        return service
    }

    private func held(_ fixture: Fixture) async throws -> [String: String] {
        var held: [String: String] = [:]
        for address in try await fixture.client.list(Self.addresses).items {
            held[address.name] = address["spec"]["parentRef"]["name"].string
        }
        held["10.96.0.1"] = nil
        return held
    }

    @Test func anAddressIsAnObjectForAsLongAsItsServiceHasIt() async throws {
        let fixture = try await Fixture()
        let first = try await fixture.client.get(Self.addresses, "10.96.0.1")
        #expect(first["spec"]["parentRef"]["name"].string == "kubernetes")
        let made = try await fixture.send("POST", Self.path, Self.service("web"))
        let address = try #require(made.json["spec"]["clusterIP"].string)
        let object = try await fixture.client.get(Self.addresses, address)
        #expect(
            object.labels == [
                "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            ])
        #expect(
            object["spec"]["parentRef"]
                == ["group": "", "resource": "services", "namespace": "default", "name": "web"])
        #expect(!object.uid.isEmpty && object.creationTimestamp != nil)
        // Whoever changes something else changes nothing here.
        let labelled = try await fixture.send(
            "PATCH", Self.path + "/web", ["metadata": ["labels": ["a": "b"]]], type: "application/merge-patch+json")
        #expect(labelled.status == 200)
        #expect(try await held(fixture) == [address: "web"])
        let external: JSON = ["spec": ["type": "ExternalName", "externalName": "example.com", "clusterIP": .null]]
        let changed = try await fixture.send(
            "PATCH", Self.path + "/web", external, type: "application/merge-patch+json")
        #expect(changed.status == 200, "\(changed.json)")
        #expect(try await held(fixture).isEmpty)
        let back = try await fixture.send(
            "PATCH", Self.path + "/web", ["spec": ["type": "ClusterIP", "externalName": .null]],
            type: "application/merge-patch+json")
        let other = try #require(back.json["spec"]["clusterIP"].string)
        #expect(try await held(fixture) == [other: "web"])
        _ = try await fixture.send("DELETE", Self.path + "/web")
        #expect(try await held(fixture).isEmpty)
    }

    @Test func whatIsNotMadeLeavesNothing() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send("POST", Self.path, Self.service("web", "10.96.1.1"))
        #expect(try await fixture.send("POST", Self.path, Self.service("web", "10.96.1.2")).status == 409)
        #expect(
            try await fixture.send("POST", Self.path + "?dryRun=All", Self.service("dry", "10.96.1.3")).status == 201)
        #expect(try await fixture.send("DELETE", Self.path + "/web?dryRun=All").status == 200)
        #expect(try await fixture.send("POST", Self.path, Self.service("headless", "None")).status == 201)
        #expect(try await held(fixture) == ["10.96.1.1": "web"])
    }

    @Test func anAddressThatIsTakenIsRefused() async throws {
        let fixture = try await Fixture()
        var foreign = KubeObject(Self.addresses, kind: "IPAddress", name: "10.96.1.1")
        foreign["spec"] = [
            "parentRef": ["group": "gateway.example.com", "resource": "gateways", "namespace": "default", "name": "g"]
        ]
        _ = try await fixture.client.create(Self.addresses, foreign)
        let refused = try await fixture.send("POST", Self.path, Self.service("web", "10.96.1.1"))
        #expect(refused.status == 422)
        #expect(
            refused.json["message"].string
                == "Service \"web\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.1.1\"]: failed to allocate IP "
                + "10.96.1.1: provided IP is already allocated")
        let outside = try await fixture.send("POST", Self.path, Self.service("web", "192.0.2.1"))
        #expect(
            outside.json["message"].string?.hasSuffix(
                "failed to allocate IP 192.0.2.1: the provided network does not match the current range") == true)
        // What an attempt left behind that was cut short is no hindrance to the next one.
        var own = foreign
        own.metadata["name"] = "10.96.1.2"
        own.metadata["labels"] = [
            "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        ]
        own["spec"]["parentRef"] = ["group": "", "resource": "services", "namespace": "default", "name": "web"]
        _ = try await fixture.client.create(Self.addresses, own)
        #expect(try await fixture.send("POST", Self.path, Self.service("other", "10.96.1.2")).status == 422)
        #expect(try await fixture.send("POST", Self.path, Self.service("web", "10.96.1.2")).status == 201)
        #expect(try await held(fixture) == ["10.96.1.1": "g", "10.96.1.2": "web"])
    }

    @Test func furtherRangesGiveAddressesToo() async throws {
        let fixture = try await Fixture()
        #expect(try await fixture.client.get(Self.ranges, "kubernetes")["spec"]["cidrs"] == ["10.96.0.0/12"])
        var more = KubeObject(Self.ranges, kind: "ServiceCIDR", name: "more")
        more["spec"] = ["cidrs": ["172.30.0.0/29"]]
        more.metadata["finalizers"] = ["example.com/hold"]
        _ = try await fixture.client.create(Self.ranges, more)
        #expect(try await fixture.send("POST", Self.path, Self.service("a", "172.30.0.1")).status == 201)
        // When the first range gives nothing any more, the next one does.
        _ = try await fixture.client.patch(
            Self.ranges, "kubernetes", type: .merge,
            [
                "status": [
                    "conditions": [
                        [
                            "type": "Ready", "status": "False", "reason": "Terminating", "message": "",
                            "lastTransitionTime": JSON(Timestamp.now.description),
                        ]
                    ]
                ]
            ],
            subresource: "status")
        var given: Set<String> = ["172.30.0.1"]
        for index in 2...6 {
            let made = try await fixture.send("POST", Self.path, Self.service("s\(index)"))
            #expect(made.status == 201, "\(made.json)")
            given.insert(made.json["spec"]["clusterIP"].string ?? "")
        }
        #expect(given == Set((1...6).map { "172.30.0.\($0)" }))
        let full = try await fixture.send("POST", Self.path, Self.service("late"))
        #expect(full.json["message"].string?.contains("failed to allocate a serviceIP: range is full") == true)
        // One that is being deleted gives nothing, and takes nothing away.
        try await fixture.client.delete(Self.ranges, "more")
        try await fixture.client.delete(.services, "s2", in: "default")
        #expect(try await fixture.send("POST", Self.path, Self.service("late")).status == 422)
        let kept = try await fixture.send(
            "PATCH", Self.path + "/a", ["metadata": ["labels": ["a": "b"]]], type: "application/merge-patch+json")
        #expect(kept.status == 200 && kept.json["spec"]["clusterIP"].string == "172.30.0.1")
    }
}
