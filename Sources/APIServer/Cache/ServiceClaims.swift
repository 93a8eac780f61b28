// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What a Service has for itself alone: addresses and node ports.
enum ServiceClaims {
    static func address(_ address: String) -> String { "ip:\(address)" }
    static func port(_ port: Int, _ transport: String) -> String { "port:\(transport)/\(port)" }

    static func claims(of service: KubeObject, withHealthCheck: Bool = true) -> [String] {
        var claims: [String] = []
        for address in addresses(of: service) { claims.append(self.address(address)) }
        for port in service["spec"]["ports"].array ?? [] {
            guard let number = port["nodePort"].int, number > 0 else { continue }
            claims.append(self.port(number, port["protocol"].string ?? "TCP"))
        }
        if withHealthCheck, let number = service["spec"]["healthCheckNodePort"].int, number > 0 {
            claims.append(port(number, "TCP"))
        }
        return claims
    }

    static func addresses(of service: KubeObject) -> [String] {
        var addresses = service["spec"]["clusterIPs"].array?.compactMap(\.string) ?? []
        if let first = service["spec"]["clusterIP"].string, !addresses.contains(first) { addresses.append(first) }
        return addresses.filter { !$0.isEmpty && $0 != "None" }
    }
}
