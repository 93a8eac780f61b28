// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
public import Values

/// Where a proxied request goes.
struct ProxyTarget: Sendable {
    var scheme: ProxyName.Scheme
    /// The address.
    var host: String
    /// Nil for the scheme's own.
    var port: Int?
    var tls: HTTPClientTLS?

    var effectivePort: Int { port ?? (scheme == .https ? 443 : 80) }

    /// Host and port as a link to the target has them.
    var authority: String {
        let host = host.contains(":") ? "[\(host)]" : host
        return port.map { "\(host):\($0)" } ?? host
    }
}

extension APIServer {
    /// Finds out who is meant by the name in the path of a proxied request.
    func proxyTarget(_ context: RequestContext) throws(StatusError) -> ProxyTarget {
        let kind = context.type.kind.lowercased()
        guard let name = ProxyName(context.name) else {
            throw .badRequest("invalid \(kind) request \(JSON(context.name).text())")
        }
        switch context.type.storage {
        case .pods: return try podTarget(name, context)
        case .services: return try serviceTarget(name, context)
        default: return try nodeTarget(name, context)
        }
    }

    /// Where to connect to, for a target.
    func proxyRoute(_ target: ProxyTarget) throws(StatusError) -> String {
        guard let address = IPAddress(target.host), let route = configuration.route(address) else {
            throw .badRequest("address not allowed")
        }
        return route.description
    }

    private func object(
        _ resource: GroupVersionResource, _ namespace: String?, _ name: String
    ) throws(StatusError) -> KubeObject {
        guard let object = mirror.object(StorageKey(resource), namespace, name)?.object() else {
            throw .notFound(resource, name: name)
        }
        return object
    }

    private func target(_ name: ProxyName, _ host: String, _ port: Int?) -> ProxyTarget {
        // Pods show whatever certificates they made themselves: nobody could check them.
        ProxyTarget(scheme: name.scheme, host: host, port: port, tls: name.scheme == .https ? anyServer : nil)
    }

    // MARK: Pods

    private func podTarget(_ name: ProxyName, _ context: RequestContext) throws(StatusError) -> ProxyTarget {
        let pod = try object(.pods, context.namespace, name.name)
        let host = pod["status"]["podIP"].string ?? pod["status"]["podIPs"][0]["ip"].string ?? ""
        let ports = (pod["spec"]["containers"].array ?? []).flatMap { $0["ports"].array ?? [] }
        if name.port.isEmpty { return target(name, host, ports.first?["containerPort"].int) }
        if let number = Int(name.port), (1...65535).contains(number) { return target(name, host, number) }
        guard let port = ports.first(where: { $0["name"].string == name.port })?["containerPort"].int else {
            throw .badRequest("pod \(JSON(name.name).text()) has no port \(JSON(name.port).text())")
        }
        return target(name, host, port)
    }

    // MARK: Services

    private func serviceTarget(_ name: ProxyName, _ context: RequestContext) throws(StatusError) -> ProxyTarget {
        let service = try object(.services, context.namespace, name.name)
        var port = name.port
        if let number = Int(name.port) {
            guard let found = service["spec"]["ports"].array?.first(where: { $0["port"].int == number }) else {
                throw .serviceUnavailable("no service port \(number) found for service \(JSON(name.name).text())")
            }
            port = found["name"].string ?? ""
        }
        let slices = mirror.list(StorageKey(.endpointSlices), namespace: context.namespace).objects.map { $0.object() }
            .filter { $0.labels["kubernetes.io/service-name"] == name.name }
        var candidates: [(host: String, port: Int)] = []
        for slice in slices {
            guard
                let number = slice["ports"].array?.first(where: { ($0["name"].string ?? "") == port })?["port"].int,
                (1...65535).contains(number)
            else { continue }
            for endpoint in slice["endpoints"].array ?? [] where endpoint["conditions"]["ready"].bool ?? true {
                guard let address = endpoint["addresses"][0].string, isPod(endpoint, address, context) else { continue }
                candidates.append((address, number))
            }
        }
        guard let chosen = candidates.randomElement() else {
            let hasNone = slices.allSatisfy { ($0["endpoints"].array ?? []).isEmpty }
            throw .serviceUnavailable(
                "no endpoints available for service \(JSON(hasNone ? name.name : context.name).text())")
        }
        return target(name, chosen.host, chosen.port)
    }

    /// Whoever may write slices must not lead the server to any address: an endpoint counts if it is that of a pod.
    private func isPod(_ endpoint: JSON, _ address: String, _ context: RequestContext) -> Bool {
        guard endpoint["targetRef"]["kind"].string == "Pod",
            endpoint["targetRef"]["namespace"].string == context.namespace,
            let name = endpoint["targetRef"]["name"].string,
            let pod = mirror.object(StorageKey(.pods), context.namespace, name)?.object()
        else { return false }
        return pod["status"]["podIPs"].array?.contains { $0["ip"].string == address }
            ?? (pod["status"]["podIP"].string == address)
    }

    // MARK: Nodes

    private func nodeTarget(_ name: ProxyName, _ context: RequestContext) throws(StatusError) -> ProxyTarget {
        let (host, kubeletPort) = try kubeletPlace(name.name)
        guard !name.port.isEmpty, name.port != String(kubeletPort) else {
            return ProxyTarget(scheme: .https, host: host, port: kubeletPort, tls: kubeletTLS)
        }
        guard let number = Int(name.port), (1...65535).contains(number) else {
            throw .badRequest("invalid node request \(JSON(context.name).text())")
        }
        return target(name, host, number)
    }

    /// Address and port of a node's kubelet.
    func kubeletPlace(_ node: String) throws(StatusError) -> (host: String, port: Int) {
        let object = try object(.nodes, nil, node)
        let addresses = object["status"]["addresses"].array ?? []
        guard let host = addresses.first(where: { $0["type"].string == "InternalIP" })?["address"].string else {
            throw .internalError("node \(node) has no InternalIP among its addresses")
        }
        return (host, object["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].int ?? configuration.kubeletPort)
    }
}

extension IPAddress {
    /// Whether the address is one of a single machine in some network. Loopback and link-local addresses mean somebody
    /// else to each machine, so the server asks nobody there on behalf of others.
    public var isGlobalUnicast: Bool {
        switch family {
        case .v4:
            let first = bytes[0]
            return v4Bits != 0 && v4Bits != .max && first != 127 && first < 224 && !(first == 169 && bytes[1] == 254)
        case .v6:
            return bits > 1 && bytes[0] != 0xFF && !(bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80)
        }
    }
}
