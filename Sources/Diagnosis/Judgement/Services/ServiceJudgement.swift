// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Values

/// Services that lead nowhere.
struct ServiceJudgement {
    let cluster: ClusterSnapshot
    let index: PodIndex
    private let selection: SelectionJudgement
    private let owners: AddressOwners

    init(_ cluster: ClusterSnapshot, _ index: PodIndex) {
        self.cluster = cluster
        self.index = index
        selection = SelectionJudgement(cluster, index)
        var owners = AddressOwners()
        for node in cluster[.nodes] { owners.add(node: node) }
        self.owners = owners
    }

    func findings() -> [Finding] { cluster[.services].flatMap { findings($0) + ofNodes($0) } }

    /// External addresses that are a node's own: agents leave them to the node.
    private func ofNodes(_ service: KubeObject) -> [Finding] {
        (service["spec"]["externalIPs"].array ?? []).compactMap(\.string).compactMap { text in
            guard let address = IPAddress(text), let node = owners.nodes[address] else { return nil }
            return Finding(
                "ExternalAddressOfNode", object: "service \(service.key)",
                problem: "has \(text) in externalIPs, and is not reached by it",
                cause: "it is node \(node)'s own address, which goes on leading to the node itself",
                nextStep:
                    "kubectl patch service \(service.name)\(service.inNamespace) -p '{\"spec\":{\"type\":\"NodePort\",\"externalIPs\":null}}'"
            )
        }
    }

    private func findings(_ service: KubeObject) -> [Finding] {
        guard let selector = Self.selector(of: service) else { return [] }
        let pods = index.selected(by: selector, in: service.namespace ?? "").filter { !$0.isBeingDeleted }
        guard !pods.isEmpty else { return [selection.finding(service, selector)] }
        var result = ports(service, pods)
        let isForAll = service["spec"]["publishNotReadyAddresses"].bool == true
        if !isForAll, let pod = pods.first, !pods.contains(where: \.isReady) {
            result.append(
                Finding(
                    "NoReadyPod", object: "service \(service.key)",
                    problem: "has no pod that is Ready: connections are refused",
                    cause: pods.count == 1
                        ? "its pod \(pod.name) is not Ready"
                        : "its \(pods.count) pods are not Ready, \(pod.name) first",
                    nextStep: "kubectl describe pod \(pod.name)\(pod.inNamespace)"))
        }
        if let finding = withoutAddress(service) { result.append(finding) }
        return result
    }

    /// Nil for a Service that selects nothing on purpose.
    static func selector(of service: KubeObject) -> [String: String]? {
        guard let selector = service["spec"]["selector"].object?.strings, !selector.isEmpty,
            service["spec"]["type"].string != "ExternalName", !service.isBeingDeleted
        else { return nil }
        return selector
    }

    private func withoutAddress(_ service: KubeObject) -> Finding? {
        guard service["spec"]["type"].string == "LoadBalancer", service["spec"]["loadBalancerClass"].string == nil,
            service["status"]["loadBalancer"]["ingress"][0] == nil
        else { return nil }
        return Finding(
            "NoExternalAddress", object: "service \(service.key)", problem: "has no external address",
            cause: index.message(service.uid, "AllocationFailed", "SyncLoadBalancerFailed")
                ?? "no address of the cluster's range has been given to it",
            nextStep: "kubectl describe service \(service.name)\(service.inNamespace)")
    }

    // MARK: - Ports

    private func ports(_ service: KubeObject, _ pods: [KubeObject]) -> [Finding] {
        let all = service["spec"]["ports"].array ?? []
        return all.enumerated().compactMap { position, port in
            let transport = port["protocol"].string ?? "TCP"
            if let name = port["targetPort"].string {
                return unnamed(service, pods, position, name, transport)
            }
            return silent(service, pods, position, port["targetPort"].int ?? port["port"].int ?? 0, transport)
        }
    }

    private func unnamed(
        _ service: KubeObject, _ pods: [KubeObject], _ position: Int, _ name: String, _ transport: String
    ) -> Finding? {
        guard !pods.contains(where: { $0.declaredPorts.contains { $0.name == name && $0.transport == transport } })
        else { return nil }
        let declared = pods.first?.declaredPorts.filter { $0.transport == transport } ?? []
        let names = declared.compactMap(\.name)
        let meant = NearestLabels.nearestName(to: name, among: names) ?? (declared.count == 1 ? names.first : nil)
        let target: JSON? =
            meant.map { JSON($0) } ?? (declared.count == 1 ? declared.first.map { JSON($0.number) } : nil)
        return Finding(
            "PortNotNamed", object: "service \(service.key)",
            problem: "sends to the port \(name), which no container of its pods names",
            cause: declared.isEmpty
                ? "its pods name no \(transport) port" : "its pods have \(Self.list(declared))",
            nextStep: Self.retarget(service, position, target))
    }

    /// A number need not be declared by anybody: where it was tried, what answers counts, and not what is declared.
    private func silent(
        _ service: KubeObject, _ pods: [KubeObject], _ position: Int, _ number: Int, _ transport: String
    ) -> Finding? {
        let ready = pods.filter(\.isReady)
        let tried = ready.compactMap { pod in
            cluster.listening[Listener(address: pod["status"]["podIP"].string ?? "", port: number)]
        }
        let declared = pods.first?.declaredPorts.filter { $0.transport == transport } ?? []
        if tried.contains(true) { return nil }
        if tried.isEmpty {
            let isDeclared = pods.contains {
                $0.declaredPorts.contains { $0.number == number && $0.transport == transport }
            }
            guard !isDeclared, !declared.isEmpty else { return nil }
        }
        let declares =
            declared.isEmpty ? "its pods declare no \(transport) port" : "its pods have \(Self.list(declared))"
        let target = declared.count == 1 ? declared.first.flatMap { $0.number == number ? nil : JSON($0.number) } : nil
        return Finding(
            "PortNotListening", object: "service \(service.key)",
            problem: tried.isEmpty
                ? "sends to port \(number), which no container of its pods declares"
                : "sends to port \(number), on which its pods refuse connections",
            cause: tried.isEmpty
                ? declares : "nothing listens on port \(number) of \(ready.first?.name ?? ""); \(declares)",
            nextStep: Self.retarget(service, position, target))
    }

    private static func list(_ ports: [DeclaredPort]) -> String {
        ports.map { port in port.name.map { "\($0) (\(port.number))" } ?? "\(port.number)" }.joined(separator: ", ")
    }

    private static func retarget(_ service: KubeObject, _ position: Int, _ target: JSON?) -> String {
        guard let target else { return "kubectl edit service \(service.name)\(service.inNamespace): its targetPort" }
        let patch: JSON = [
            ["op": "replace", "path": JSON("/spec/ports/\(position)/targetPort"), "value": target]
        ]
        return "kubectl patch service \(service.name)\(service.inNamespace) --type=json -p \(patch.text().shellQuoted)"
    }

    /// Where a connection tells whether a Service's numbered port is served: one Ready pod for each.
    static func listenersToTry(_ cluster: ClusterSnapshot, _ index: PodIndex) -> [Listener: String] {
        var result: [Listener: String] = [:]
        for service in cluster[.services] {
            guard let selector = selector(of: service) else { continue }
            let numbers = (service["spec"]["ports"].array ?? []).compactMap { port -> Int? in
                guard (port["protocol"].string ?? "TCP") == "TCP", port["targetPort"].string == nil else { return nil }
                return port["targetPort"].int ?? port["port"].int
            }
            guard !numbers.isEmpty,
                let pod = index.selected(by: selector, in: service.namespace ?? "").first(where: \.isReady),
                let address = pod["status"]["podIP"].string, let node = pod["spec"]["nodeName"].string
            else { continue }
            for number in numbers { result[Listener(address: address, port: number)] = node }
        }
        return result
    }
}

/// A port that a container declares.
struct DeclaredPort {
    let name: String?
    let number: Int
    let transport: String
}

extension KubeObject {
    var declaredPorts: [DeclaredPort] {
        let sidecars = (self["spec"]["initContainers"].array ?? []).filter { $0["restartPolicy"].string == "Always" }
        return (sidecars + (self["spec"]["containers"].array ?? [])).flatMap { container in
            (container["ports"].array ?? []).compactMap { port in
                port["containerPort"].int.map {
                    DeclaredPort(name: port["name"].string, number: $0, transport: port["protocol"].string ?? "TCP")
                }
            }
        }
    }
}
