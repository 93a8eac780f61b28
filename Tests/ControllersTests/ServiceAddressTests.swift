// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

extension GroupVersionResource {
    static let serviceCIDRs = GroupVersionResource("networking.k8s.io", "v1", "servicecidrs")
    static let ipAddresses = GroupVersionResource("networking.k8s.io", "v1", "ipaddresses")
}

/// ServiceCIDRs and the IPAddress objects of Services.
@Suite(.timeLimit(.minutes(1))) struct ServiceAddressTests {
    private static func address(_ name: String, of service: String) -> KubeObject {
        var address = KubeObject(
            .ipAddresses, kind: "IPAddress", name: name,
            labels: [
                "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            ])
        address["spec"] = [
            "parentRef": ["group": "", "resource": "services", "namespace": "default", "name": JSON(service)]
        ]
        return address
    }

    private static func service(_ name: String, _ address: String) -> JSON {
        var service = Manifests.service(name, app: "x")
        service["spec"]["clusterIP"] = JSON(address)
        return service
    }

    @Test func theRangeOfTheClusterIsReadyAndHeld() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            let ranges = try await cluster.until(.serviceCIDRs) {
                $0.named("kubernetes")?["status"]["conditions"][0]["status"].string == "True"
                    && $0.named("kubernetes")?.finalizers == ["networking.k8s.io/service-cidr-finalizer"]
            }
            let range = ranges.named("kubernetes")
            #expect(range?["spec"]["cidrs"] == ["10.96.0.0/12"])
            #expect(range?["status"]["conditions"][0]["type"].string == "Ready")
            try await cluster.client.delete(.serviceCIDRs, "kubernetes")
            try await cluster.until(.serviceCIDRs) { ranges in
                let condition = ranges.named("kubernetes")?["status"]["conditions"][0]
                return condition["status"].string == "False" && condition["reason"].string == "Terminating"
            }
        }
    }

    @Test func anotherRangeIsHeldForAsLongAsItIsUsed() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            var range = KubeObject(.serviceCIDRs, kind: "ServiceCIDR", name: "more")
            range["spec"] = ["cidrs": ["172.30.0.0/24"]]
            try await cluster.client.create(.serviceCIDRs, range)
            try await cluster.until(.serviceCIDRs) {
                $0.named("more")?.finalizers.isEmpty == false
                    && $0.named("more")?["status"]["conditions"][0]["status"].string == "True"
            }
            _ = try await cluster.apply(.services, Self.service("web", "172.30.0.7"))
            try await cluster.client.delete(.serviceCIDRs, "more")
            try await cluster.until(.serviceCIDRs) {
                $0.named("more")?["status"]["conditions"][0]["reason"].string == "Terminating"
            }
            // It gives out nothing any more.
            await #expect(throws: APIError.self) {
                _ = try await cluster.apply(.services, Self.service("late", "172.30.0.8"))
            }
            try await cluster.client.delete(.services, "web", in: "default")
            try await cluster.until(.serviceCIDRs) { $0.named("more") == nil }
        }
    }

    @Test func anAddressThatIsMissingComesBack() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            let service = try await cluster.apply(.services, Self.service("web", "10.96.7.7"))
            let made = try await cluster.client.get(.ipAddresses, "10.96.7.7")
            try await cluster.client.delete(.ipAddresses, "10.96.7.7")
            let addresses = try await cluster.until(.ipAddresses) { addresses in
                addresses.named("10.96.7.7").map { $0.uid != made.uid } ?? false
            }
            let address = addresses.named("10.96.7.7")
            #expect(address?["spec"] == made["spec"] && address?.labels == made.labels)
            try await cluster.until(.events, in: "default") { events in
                events.contains {
                    $0["reason"].string == "ClusterIPNotAllocated"
                        && $0["involvedObject"]["uid"].string == service.uid
                }
            }
        }
    }

    @Test func anAddressThatNoServiceHasIsCollected() async throws {
        var configuration = ControllerConfiguration(clusterCACertificatePEM: "PEM")
        configuration.addressGracePeriod = .zero
        try await TestCluster.with(nodes: [], configuration: configuration) { cluster in
            // As a server leaves it that is killed between its two writes.
            try await cluster.client.create(.ipAddresses, Self.address("10.96.9.9", of: "never-made"))
            try await cluster.until(.events) { $0.contains { $0["reason"].string == "IPAddressNotAllocated" } }
            try await cluster.until(.ipAddresses) { $0.named("10.96.9.9") == nil }
            // One that belongs to something else is not touched, and one of a Service stays.
            var gateway = Self.address("10.96.9.10", of: "gateway")
            gateway.metadata["labels"] = nil
            try await cluster.client.create(.ipAddresses, gateway)
            _ = try await cluster.apply(.services, Self.service("web", "10.96.9.11"))
            try await cluster.client.create(.ipAddresses, Self.address("10.96.9.12", of: "web"))
            let left = try await cluster.until(.ipAddresses) { $0.named("10.96.9.12") == nil }
            #expect(left.named("10.96.9.10") != nil && left.named("10.96.9.11") != nil)
        }
    }
}
