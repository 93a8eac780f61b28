// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

/// Endpoints that users write, shown as EndpointSlices.
@Suite(.timeLimit(.minutes(1))) struct MirroringTests {
    private static let manager = "endpointslicemirroring-controller.k8s.io"

    private static func service(_ name: String) -> JSON {
        [
            "apiVersion": "v1", "kind": "Service", "metadata": ["name": JSON(name), "namespace": "default"],
            "spec": ["ports": [["name": "db", "port": 5432]]],
        ]
    }

    private static func endpoints(
        _ name: String, _ addresses: [String], notReady: JSON? = nil, labels: [String: String] = [:]
    ) -> KubeObject {
        var endpoints = KubeObject(.endpoints, kind: "Endpoints", name: name, namespace: "default", labels: labels)
        var subset: JSON = [
            "addresses": .array(addresses.map { ["ip": JSON($0)] }),
            "ports": [["name": "db", "port": 5432, "protocol": "TCP"]],
        ]
        subset["notReadyAddresses"] = notReady
        endpoints["subsets"] = .array([subset])
        return endpoints
    }

    private static func mirrors(_ slices: [KubeObject], of name: String) -> [KubeObject] {
        slices.filter {
            $0.labels["kubernetes.io/service-name"] == name
                && $0.labels["endpointslice.kubernetes.io/managed-by"] == manager
        }
    }

    private static func addresses(_ slice: KubeObject?) -> [String] {
        (slice?["endpoints"].array ?? []).compactMap { $0["addresses"][0].string }
    }

    @Test func slicesFollowTheEndpoints() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            _ = try await cluster.apply(.services, Self.service("db"))
            var written = Self.endpoints("db", ["192.0.2.1"], labels: ["team": "data"])
            written.metadata["annotations"] = [
                "example.com/kept": "yes", "kubectl.kubernetes.io/last-applied-configuration": "{}",
            ]
            let endpoints = try await cluster.client.create(.endpoints, written)
            let slices = try await cluster.until(.endpointSlices, in: "default") {
                Self.addresses(Self.mirrors($0, of: "db").first) == ["192.0.2.1"]
            }
            let slice = try #require(Self.mirrors(slices, of: "db").first)
            #expect(slice.name.hasPrefix("db-") && slice["addressType"].string == "IPv4")
            #expect(slice.labels["team"] == "data")
            #expect(slice.annotations == ["example.com/kept": "yes"])
            #expect(slice["ports"] == [["name": "db", "protocol": "TCP", "port": 5432]])
            #expect(slice["endpoints"][0]["conditions"]["ready"].bool == true)
            #expect(slice.controller?.uid == endpoints.uid && slice.controller?.kind == "Endpoints")
            var changed = endpoints
            changed["subsets"] =
                Self.endpoints(
                    "db", ["192.0.2.1"], notReady: [["ip": "192.0.2.2", "hostname": "two"]])["subsets"]
            try await cluster.client.update(.endpoints, changed)
            let after = try await cluster.until(.endpointSlices, in: "default") {
                Self.addresses(Self.mirrors($0, of: "db").first) == ["192.0.2.1", "192.0.2.2"]
            }
            let second = Self.mirrors(after, of: "db").first?["endpoints"][1]
            #expect(second["conditions"]["ready"].bool == false && second["hostname"].string == "two")
            #expect(Self.mirrors(after, of: "db").map(\.uid) == [slice.uid])
            // Deleted by hand it comes back; with the Endpoints it goes.
            try await cluster.client.delete(.endpointSlices, slice.name, in: "default")
            try await cluster.until(.endpointSlices, in: "default") { slices in
                let mirrors = Self.mirrors(slices, of: "db")
                return mirrors.count == 1 && mirrors[0].uid != slice.uid
            }
            try await cluster.client.delete(.endpoints, "db", in: "default")
            try await cluster.until(.endpointSlices, in: "default") { Self.mirrors($0, of: "db").isEmpty }
        }
    }

    @Test func onlyWhatNoSelectorFillsIsMirrored() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            for name in ["skipped", "plain"] { _ = try await cluster.apply(.services, Self.service(name)) }
            try await cluster.client.create(
                .endpoints,
                Self.endpoints("skipped", ["192.0.2.1"], labels: ["endpointslice.kubernetes.io/skip-mirror": "true"]))
            try await cluster.client.create(.endpoints, Self.endpoints("nobodys", ["192.0.2.1"]))
            try await cluster.client.create(.endpoints, Self.endpoints("plain", ["192.0.2.1"]))
            let slices = try await cluster.until(.endpointSlices, in: "default") {
                !Self.mirrors($0, of: "plain").isEmpty
            }
            #expect(Self.mirrors(slices, of: "skipped").isEmpty && Self.mirrors(slices, of: "nobodys").isEmpty)
            #expect(Self.mirrors(slices, of: "kubernetes").isEmpty)
            // When the Service gets a selector, its slices are made from pods.
            try await cluster.client.patch(
                .services, "plain", in: "default", type: .merge, ["spec": ["selector": ["app": "x"]]])
            try await cluster.until(.endpointSlices, in: "default") { slices in
                Self.mirrors(slices, of: "plain").isEmpty
                    && slices.contains { $0.labels["kubernetes.io/service-name"] == "plain" }
            }
        }
    }

    @Test func aSubsetIsMirroredUpToAThousandAddresses() {
        let many = Self.endpoints(
            "db", (0..<1200).map { "10.1.\($0 / 250).\($0 % 250)" }, notReady: [["ip": "10.2.0.1"]])
        let plan = MirrorPlan(many, existing: [])
        #expect(plan.create.count == 1 && plan.create[0]["endpoints"].array?.count == 1000)
        #expect(plan.skipped == 201 && plan.invalid == 0)
        // Families are told apart, and what is no address is left out.
        let mixed = MirrorPlan(Self.endpoints("db", ["192.0.2.1", "2001:db8::1", "nonsense"]), existing: [])
        #expect(Set(mixed.create.compactMap { $0["addressType"].string }) == ["IPv4", "IPv6"])
        #expect(mixed.invalid == 1 && mixed.skipped == 1)
    }
}
