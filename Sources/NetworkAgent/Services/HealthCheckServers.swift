// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
import Linux
import Logging
import NetworkModel
import Synchronization
import Values

/// Answers load balancers on the ports of `healthCheckNodePort` whether this node has endpoints of a Service: 200 with at
/// least one that is ready, else 503. The answers are kube-proxy's (pkg/proxy/healthcheck/service_health.go).
final class HealthCheckServers: Sendable {
    typealias Check = ServiceCalculation.HealthCheck

    private let namespace: NamespaceRef?
    private let logger: Logger
    private let wanted: Mutex<[Check]> = Mutex([])
    private let signal = Signal()

    init(namespace: NamespaceRef?, _ logger: Logger) {
        self.namespace = namespace
        self.logger = logger
    }

    /// What is to be answered from now on.
    func set(_ checks: [Check]) {
        wanted.withLock { $0 = checks }
        signal.raise()
    }

    /// Listens where it is wanted, until cancelled.
    func run() async {
        var servers: [Int: Task<Void, Never>] = [:]
        await signal.forEach(onFailure: { [logger] in logger.error("health checks: \($0)") }) {
            let ports = Set(self.wanted.withLock { $0.map(\.port) })
            for (port, server) in servers where !ports.contains(port) {
                server.cancel()
                await server.value
                servers[port] = nil
            }
            for port in ports where servers[port] == nil {
                // Not structured: it lives from one change to another.
                servers[port] = Task { await self.serve(port) }
            }
        }
        for server in servers.values { server.cancel() }
    }

    private func serve(_ port: Int) async {
        do {
            // The API server lets no other through.
            guard let number = UInt16(exactly: port) else { return }
            let socket = try Namespaces.inNamespaces(net: namespace) { try ServerSocket.everywhere(port: number) }
            let server = HTTPServer(
                HTTPServerConfiguration(.socket(socket)), logger: logger, handler: { _ in self.answer(port) })
            try await server.run()
        } catch {
            guard !Task.isCancelled else { return }
            let service = wanted.withLock { $0.first { $0.port == port }.map { "\($0.service)" } ?? "" }
            logger.error("load balancers are not answered for Service \(service): port \(port): \(error)")
        }
    }

    private func answer(_ port: Int) -> HTTPResponse {
        guard let check = wanted.withLock({ $0.first { $0.port == port } }) else { return HTTPResponse(status: 404) }
        let body: JSON = [
            "service": ["namespace": JSON(check.service.namespace ?? ""), "name": JSON(check.service.name)],
            "localEndpoints": JSON(check.localEndpoints), "serviceProxyHealthy": true,
        ]
        return HTTPResponse(
            status: check.localEndpoints > 0 ? 200 : 503, contentType: "application/json", bytes: body.serialized()
        )
        .adding("X-Content-Type-Options", "nosniff")
        .adding("X-Load-Balancing-Endpoint-Weight", "\(check.localEndpoints)")
    }
}
