// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import KubeClient
import KubeClientTesting
import KubeObjects
import Linux
import NetworkAgent
import NetworkModel
import Testing
import Values

/// Services as the agents of two nodes serve them, from the API to the kernel.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct ServiceAgentRootTests {
    private static func slice(_ nodes: [(address: String, node: String)]) -> KubeObject {
        var slice = KubeObject(
            .endpointSlices, kind: "EndpointSlice", name: "web-1", namespace: "default",
            labels: ["kubernetes.io/service-name": "web"])
        slice["addressType"] = "IPv4"
        slice["ports"] = [["port": 8080]]
        slice["endpoints"] = .array(
            nodes.map { ["addresses": [JSON($0.address)], "nodeName": JSON($0.node), "conditions": ["ready": true]] })
        return slice
    }

    private func check(_ nodes: TwoNodes, _ node: String) async throws -> ProcessOutput {
        try await nodes.laboratory.run(
            "/usr/bin/curl", ["-s", "-D", "/dev/stderr", "-m", "5", "http://127.0.0.1:31234/healthz"], in: node)
    }

    /// The answer's first line, as soon as somebody listens: the kernel tells nobody of it.
    private func status(_ nodes: TwoNodes, _ node: String, until wanted: String) async throws -> ProcessOutput {
        while true {
            let answer = try await check(nodes, node)
            if answer.errorText.contains(wanted) { return answer }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    @Test(.timeLimit(.minutes(1))) func loadBalancersAreAnsweredByEachNodeForItself() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Never"))
        try await nodes.withAgents {
            var service = KubeObject(.services, kind: "Service", name: "web", namespace: "default")
            service["spec"] = [
                "type": "LoadBalancer", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
                "externalTrafficPolicy": "Local", "healthCheckNodePort": 31234, "ports": [["port": 80]],
            ]
            try await nodes.api.client.create(.services, service)
            let none = try await status(nodes, "a", until: " 503 ")
            #expect(none.errorText.contains("X-Load-Balancing-Endpoint-Weight: 0"), "\(none.errorText)")
            try await nodes.api.client.create(.endpointSlices, Self.slice([("10.244.0.9", "a"), ("10.244.0.8", "b")]))
            let one = try await status(nodes, "a", until: " 200 ")
            #expect(one.errorText.contains("X-Load-Balancing-Endpoint-Weight: 1"), "\(one.errorText)")
            let body = try JSON(parsing: one.output)
            #expect(
                body == [
                    "service": ["namespace": "default", "name": "web"], "localEndpoints": 1,
                    "serviceProxyHealthy": true,
                ], "\(one.text)")
            try await nodes.api.client.update(.endpointSlices, Self.slice([("10.244.0.8", "b")]))
            _ = try await status(nodes, "a", until: " 503 ")
            _ = try await status(nodes, "b", until: " 200 ")
            try await nodes.api.client.delete(.services, "web", in: "default")
            while try await check(nodes, "b").errorText.contains(" 200 ") {
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func aFlushedTableComesBackWithItsServices() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Never"))
        try await nodes.withAgents {
            var service = KubeObject(.services, kind: "Service", name: "web", namespace: "default")
            service["spec"] = [
                "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "sessionAffinity": "ClientIP",
                "ports": [["port": 80], ["name": "dns", "port": 53, "protocol": "UDP"]],
            ]
            try await nodes.api.client.create(.services, service)
            try await nodes.api.client.create(.endpointSlices, Self.slice([("10.244.0.9", "a"), ("10.244.0.8", "b")]))
            let socket = try NetfilterSocket(in: nodes.laboratory.namespace("a"))
            let monitor = try NFTablesMonitor(in: nodes.laboratory.namespace("a"))
            @Sendable func isWhole() -> Bool {
                guard let slots = try? socket.elements(of: "endpoints-16", table: "catbird", .v4),
                    let fronts = try? socket.elements(of: "fronts", table: "catbird", .v4),
                    let sticky = try? socket.elements(of: "sticky-10800", table: "catbird", .v4)
                else { return false }
                return slots.count == 16 && fronts.count == 2 && sticky.count == 2
            }
            if !isWhole() { for await _ in monitor.events where isWhole() { break } }
            for command in ["flush ruleset", "flush map ip catbird fronts", "flush map ip catbird endpoints-16"] {
                let flush = try await nodes.laboratory.run("/usr/sbin/nft", [command], in: "a")
                #expect(flush.status.isSuccess, "\(flush.errorText)")
                if !isWhole() { for await _ in monitor.events where isWhole() { break } }
                #expect(isWhole(), "\(command)")
            }
        }
    }
}
