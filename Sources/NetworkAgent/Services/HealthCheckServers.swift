// SPDX-License-Identifier: Apache-2.0

import Glibc
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
            let socket = try listener(port)
            let server = HTTPServer(
                HTTPServerConfiguration(.socket(socket)), logger: logger, handler: { _ in self.answer(port) })
            try await server.run()
        } catch {
            guard !Task.isCancelled else { return }
            let service = wanted.withLock { $0.first { $0.port == port }.map { "\($0.service)" } ?? "" }
            logger.error("load balancers are not answered for Service \(service): port \(port): \(error)")
        }
    }

    /// On all addresses of the node, in both families where the kernel has both.
    private func listener(_ port: Int) throws -> Int32 {
        try Namespaces.inNamespaces(net: namespace) {
            let fd = try check("socket") {
                socket(AF_INET6, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            }
            var both: Int32 = 0
            var reuse: Int32 = 1
            setsockopt(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &both, socklen_t(MemoryLayout<Int32>.size))
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, socklen_t(MemoryLayout<Int32>.size))
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = UInt16(truncatingIfNeeded: port).bigEndian
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(fd, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
            guard bound == 0 else {
                let error = Errno("bind", "port \(port)")
                close(fd)
                throw error
            }
            return fd
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
