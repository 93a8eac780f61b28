// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import Values

/// From a Service and the pods it selects to the endpoints it has: pure.
package struct EndpointComputation: Sendable {
    /// A port of the Service with the number it has on some pods.
    package struct Port: Sendable, Hashable {
        package var name: String
        package var number: Int?
        package var `protocol`: String
        package var appProtocol: String?

        package var json: JSON {
            var json: JSON = ["name": JSON(name), "protocol": JSON(`protocol`)]
            if let number { json["port"] = JSON(number) }
            if let appProtocol { json["appProtocol"] = JSON(appProtocol) }
            return json
        }
    }

    /// One pod behind the Service.
    package struct Endpoint: Sendable, Hashable {
        package var address: String
        package var isReady: Bool
        package var isServing: Bool
        package var isTerminating: Bool
        package var hostname: String?
        package var nodeName: String?
        package var zone: String?
        package var target: JSON

        package var json: JSON {
            var json: JSON = [
                "addresses": [JSON(address)],
                "conditions": [
                    "ready": JSON(isReady), "serving": JSON(isServing), "terminating": JSON(isTerminating),
                ],
                "targetRef": target,
            ]
            if let hostname { json["hostname"] = JSON(hostname) }
            if let nodeName { json["nodeName"] = JSON(nodeName) }
            if let zone { json["zone"] = JSON(zone) }
            return json
        }
    }

    /// The endpoints that share ports and address family: they share slices.
    package struct Group: Sendable, Hashable {
        package var family: IPFamily
        package var ports: [Port]
    }

    package let service: KubeObject
    package let pods: [KubeObject]
    /// `topology.kubernetes.io/zone` by node.
    package let zones: [String: String]

    package init(service: KubeObject, pods: [KubeObject], zones: [String: String]) {
        self.service = service
        self.pods = pods
        self.zones = zones
    }

    private var publishesNotReady: Bool { service["spec"]["publishNotReadyAddresses"].bool ?? false }
    package var isHeadless: Bool { service["spec"]["clusterIP"].string == "None" }

    private var families: Set<IPFamily> {
        let named = Set(
            (service["spec"]["ipFamilies"].array ?? []).compactMap { $0.string == "IPv6" ? IPFamily.v6 : .v4 })
        return named.isEmpty ? [.v4] : named
    }

    /// Endpoints by the slices they belong into. A Service without pods has one empty group for each family, so that
    /// watchers learn that there is nobody.
    package func groups() -> [Group: [Endpoint]] {
        var groups: [Group: [Endpoint]] = [:]
        for pod in pods where !pod.isPodFinished && pod["spec"]["nodeName"].string != nil {
            let ports = ports(of: pod)
            for text in pod.podIPs {
                guard let address = IPAddress(text), families.contains(address.family) else { continue }
                groups[Group(family: address.family, ports: ports), default: []].append(endpoint(pod, text))
            }
        }
        for family in families where !groups.keys.contains(where: { $0.family == family }) {
            groups[Group(family: family, ports: [])] = []
        }
        return groups
    }

    private func endpoint(_ pod: KubeObject, _ address: String) -> Endpoint {
        let serving = pod.isPodReady
        let terminating = pod.isBeingDeleted
        let hostname = pod["spec"]["hostname"].string
        let subdomain = pod["spec"]["subdomain"].string
        let isNamed = subdomain == service.name && !(hostname ?? "").isEmpty
        return Endpoint(
            address: address, isReady: publishesNotReady || (serving && !terminating), isServing: serving,
            isTerminating: terminating, hostname: isNamed ? hostname : nil, nodeName: pod.nodeName,
            zone: pod.nodeName.flatMap { zones[$0] }, target: pod.reference)
    }

    /// The ports of the Service as this pod has them. A named target port that the pod lacks is left out.
    package func ports(of pod: KubeObject) -> [Port] {
        let wanted = service["spec"]["ports"].array ?? []
        return wanted.compactMap { port in
            let proto = port["protocol"].string ?? "TCP"
            let target = port["targetPort"]
            let number: Int?
            if let name = target.string, Int(name) == nil {
                number = Self.containerPort(of: pod, named: name, protocol: proto)
            } else {
                number = target.int ?? target.string.flatMap { Int($0) } ?? port["port"].int
            }
            guard let number, number > 0 else { return nil }
            return Port(
                name: port["name"].string ?? "", number: number, protocol: proto,
                appProtocol: port["appProtocol"].string)
        }
    }

    private static func containerPort(of pod: KubeObject, named name: String, protocol: String) -> Int? {
        let sidecars = (pod["spec"]["initContainers"].array ?? []).filter { $0["restartPolicy"].string == "Always" }
        for container in (pod["spec"]["containers"].array ?? []) + sidecars {
            for port in container["ports"].array ?? []
            where port["name"].string == name && (port["protocol"].string ?? "TCP") == `protocol` {
                return port["containerPort"].int
            }
        }
        return nil
    }

    /// The older form: `subsets` of an Endpoints object.
    package func subsets() -> [JSON] {
        struct Subset {
            package var ready: [JSON] = []
            package var notReady: [JSON] = []
        }
        var subsets: [[Port]: Subset] = [:]
        let primary: IPFamily = service["spec"]["ipFamilies"][0].string == "IPv6" ? .v6 : .v4
        for (group, endpoints) in groups() where group.family == primary {
            if group.ports.isEmpty, !isHeadless { continue }
            for endpoint in endpoints where !endpoint.isTerminating || publishesNotReady {
                var address: JSON = ["ip": JSON(endpoint.address), "targetRef": endpoint.target]
                if let hostname = endpoint.hostname { address["hostname"] = JSON(hostname) }
                if let node = endpoint.nodeName { address["nodeName"] = JSON(node) }
                if endpoint.isReady {
                    subsets[group.ports, default: Subset()].ready.append(address)
                } else {
                    subsets[group.ports, default: Subset()].notReady.append(address)
                }
            }
        }
        func sorted(_ addresses: [JSON]) -> JSON {
            .array(addresses.sorted { ($0["ip"].string ?? "") < ($1["ip"].string ?? "") })
        }
        let ordered = subsets.sorted { left, right in
            left.key.map(\.json.description).joined() < right.key.map(\.json.description).joined()
        }
        return ordered.map { ports, subset in
            var json: JSON = [:]
            if !subset.ready.isEmpty { json["addresses"] = sorted(subset.ready) }
            if !subset.notReady.isEmpty { json["notReadyAddresses"] = sorted(subset.notReady) }
            if !ports.isEmpty {
                json["ports"] = .array(
                    ports.map { port in
                        var json = port.json
                        if port.name.isEmpty { json["name"] = nil }
                        return json
                    })
            }
            return json
        }
    }
}

/// How the endpoints of one Service are laid into slices: changes as little as possible of what is there.
package struct SlicePlan: Sendable {
    package static let capacity = 100
    package var create: [KubeObject] = []
    package var update: [KubeObject] = []
    package var delete: [KubeObject] = []

    package init(computation: EndpointComputation, existing: [KubeObject]) {
        let wanted = computation.groups()
        var left = existing.filter { !$0.isBeingDeleted }.sorted { $0.name < $1.name }
        let order = wanted.keys.sorted { "\($0.family)\($0.ports.map(\.json))" < "\($1.family)\($1.ports.map(\.json))" }
        for group in order {
            let type = group.family == .v4 ? "IPv4" : "IPv6"
            let ports = JSON.array(group.ports.map(\.json))
            var missing = Dictionary((wanted[group] ?? []).map { ($0.address, $0) }) { first, _ in first }
            var kept: [(slice: KubeObject, endpoints: [EndpointComputation.Endpoint])] = []
            left.removeAll { slice in
                guard slice["addressType"].string == type, Self.samePorts(slice["ports"], ports) else { return false }
                var endpoints: [EndpointComputation.Endpoint] = []
                for old in slice["endpoints"].array ?? [] {
                    if let address = old["addresses"][0].string, let endpoint = missing.removeValue(forKey: address) {
                        endpoints.append(endpoint)
                    }
                }
                kept.append((slice, endpoints))
                return true
            }
            var rest = missing.values.sorted { $0.address < $1.address }[...]
            for index in kept.indices where !rest.isEmpty {
                let room = max(0, Self.capacity - kept[index].endpoints.count)
                kept[index].endpoints += rest.prefix(room)
                rest = rest.dropFirst(room)
            }
            // One empty slice stays where there is no other; the rest of the empty ones go.
            let isAllEmpty = rest.isEmpty && kept.allSatisfy(\.endpoints.isEmpty)
            for (index, (slice, endpoints)) in kept.enumerated() {
                if endpoints.isEmpty, !(isAllEmpty && index == 0) {
                    delete.append(slice)
                    continue
                }
                let updated = Self.slice(slice, computation, endpoints)
                if updated != slice { update.append(updated) }
            }
            var remaining = Array(rest)
            while !remaining.isEmpty || (isAllEmpty && kept.isEmpty) {
                let part = Array(remaining.prefix(Self.capacity))
                remaining.removeFirst(part.count)
                var slice = KubeObject([
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": ["generateName": JSON("\(computation.service.name)-")], "addressType": JSON(type),
                ])
                slice.metadata["namespace"] = computation.service.namespace.map { JSON($0) }
                slice["ports"] = ports
                create.append(Self.slice(slice, computation, part))
                if part.isEmpty { break }
            }
        }
        delete += left
    }

    private static func samePorts(_ left: JSON?, _ right: JSON?) -> Bool {
        func canonical(_ ports: JSON?) -> Set<JSON> { Set(ports.array ?? []) }
        return canonical(left) == canonical(right)
    }

    private static func slice(
        _ slice: KubeObject, _ computation: EndpointComputation, _ endpoints: [EndpointComputation.Endpoint]
    ) -> KubeObject {
        var slice = slice
        let service = computation.service
        var labels = service.labels
        labels["kubernetes.io/service-name"] = service.name
        labels["endpointslice.kubernetes.io/managed-by"] = EndpointsController.manager
        labels["service.kubernetes.io/headless"] = computation.isHeadless ? "" : nil
        slice.metadata["labels"] = JSON(labels)
        var annotations = service.annotations
        annotations["kubectl.kubernetes.io/last-applied-configuration"] = nil
        for (key, value) in slice.annotations where key == "endpoints.kubernetes.io/last-change-trigger-time" {
            annotations[key] = value
        }
        if !annotations.isEmpty || !slice.annotations.isEmpty {
            slice.metadata["annotations"] = annotations.isEmpty ? nil : JSON(annotations)
        }
        slice.metadata["ownerReferences"] = [OwnerReference(controller: service).json]
        slice["endpoints"] = .array(endpoints.map(\.json))
        return slice
    }
}
