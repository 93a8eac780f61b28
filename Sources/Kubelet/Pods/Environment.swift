// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import Values

/// A container cannot be started as it is configured: the waiting reason `CreateContainerConfigError`.
package struct ContainerConfigError: Error, Hashable, Sendable, CustomStringConvertible {
    package let message: String
    package init(_ message: String) { self.message = message }
    package var description: String { message }
}

/// `$(NAME)` in commands and values.
package enum VariableExpansion {
    /// Replaces references to known names; `$$` stands for `$`, and what is not known stays as it is written.
    package static func expand(_ text: String, _ value: (String) -> String?) -> String {
        guard text.utf8.contains(UInt8(ascii: "$")) else { return text }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "$"), index + 1 < bytes.count else {
                result.append(bytes[index])
                index += 1
                continue
            }
            if bytes[index + 1] == UInt8(ascii: "$") {
                result.append(UInt8(ascii: "$"))
                index += 2
            } else if bytes[index + 1] == UInt8(ascii: "("),
                let end = bytes[(index + 2)...].firstIndex(of: UInt8(ascii: ")"))
            {
                let name = String(decoding: bytes[(index + 2)..<end], as: UTF8.self)
                result += value(name).map { Array($0.utf8) } ?? Array(bytes[index...end])
                index = end + 1
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// What a container's variables may refer to, collected before they are computed.
package struct EnvironmentSources: Sendable {
    package var configMaps: [String: KubeObject] = [:]
    package var secrets: [String: KubeObject] = [:]
    package var services: [KubeObject] = []
    package var hostIP = ""
    package var podIPs: [String] = []
    /// What stands in for a limit that is not set.
    package var allocatable: [String: String] = [:]

    package init() {}
}

/// A container's environment: service links, then `envFrom`, then `env`, later ones winning.
package enum ContainerEnvironment {
    package static func compute(
        _ container: ContainerView, of pod: PodView, sources: EnvironmentSources
    ) throws(ContainerConfigError) -> [(String, String)] {
        var variables = OrderedVariables()
        let links = ServiceLinks.variables(
            namespace: pod.namespace, services: sources.services,
            includingOwnNamespace: pod.spec["enableServiceLinks"].bool ?? true)
        for (name, value) in links { variables.set(name, value) }
        for source in container.json["envFrom"].array ?? [] {
            let prefix = source["prefix"].string ?? ""
            for (key, value) in try from(source, sources, pod) { variables.set(prefix + key, value) }
        }
        for entry in container.json["env"].array ?? [] {
            guard let name = entry["name"].string else { continue }
            if let from = entry["valueFrom"], !from.isNull {
                if let value = try value(from, container, pod, sources) { variables.set(name, value) }
            } else {
                variables.set(name, VariableExpansion.expand(entry["value"].string ?? "") { variables[$0] })
            }
        }
        return variables.pairs
    }

    private static func from(
        _ source: JSON, _ sources: EnvironmentSources, _ pod: PodView
    ) throws(ContainerConfigError) -> [(String, String)] {
        if let reference = source["configMapRef"], let name = reference["name"].string {
            guard let object = sources.configMaps[name] else {
                if reference["optional"].bool == true { return [] }
                throw ContainerConfigError("configmap \"\(name)\" not found")
            }
            return (object["data"].object?.strings ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        }
        if let reference = source["secretRef"], let name = reference["name"].string {
            guard let object = sources.secrets[name] else {
                if reference["optional"].bool == true { return [] }
                throw ContainerConfigError("secret \"\(name)\" not found")
            }
            return (object["data"].object?.strings ?? [:]).sorted { $0.key < $1.key }.map {
                ($0.key, String(decoding: Base64.bytes($0.value) ?? [], as: UTF8.self))
            }
        }
        return []
    }

    private static func value(
        _ from: JSON, _ container: ContainerView, _ pod: PodView, _ sources: EnvironmentSources
    ) throws(ContainerConfigError) -> String? {
        if let reference = from["configMapKeyRef"], let name = reference["name"].string,
            let key = reference["key"].string
        {
            let optional = reference["optional"].bool ?? false
            guard let object = sources.configMaps[name] else {
                if optional { return nil }
                throw ContainerConfigError("configmap \"\(name)\" not found")
            }
            if let value = object["data"][key].string { return value }
            if optional { return nil }
            throw ContainerConfigError("couldn't find key \(key) in ConfigMap \(pod.namespace)/\(name)")
        }
        if let reference = from["secretKeyRef"], let name = reference["name"].string, let key = reference["key"].string
        {
            let optional = reference["optional"].bool ?? false
            guard let object = sources.secrets[name] else {
                if optional { return nil }
                throw ContainerConfigError("secret \"\(name)\" not found")
            }
            if let value = object["data"][key].string.flatMap({ Base64.bytes($0) }) {
                return String(decoding: value, as: UTF8.self)
            }
            if optional { return nil }
            throw ContainerConfigError("couldn't find key \(key) in Secret \(pod.namespace)/\(name)")
        }
        if let path = from["fieldRef"]["fieldPath"].string { return try field(path, of: pod, sources) }
        if let reference = from["resourceFieldRef"] {
            return try resource(reference, defaultContainer: container, of: pod, sources.allocatable)
        }
        throw ContainerConfigError("a variable's valueFrom names no source")
    }

    /// The value of a field that the downward API offers.
    package static func field(
        _ path: String, of pod: PodView, _ sources: EnvironmentSources
    ) throws(ContainerConfigError) -> String {
        switch path {
        case "metadata.name": return pod.name
        case "metadata.namespace": return pod.namespace
        case "metadata.uid": return pod.uid
        case "metadata.labels": return text(pod.object.labels)
        case "metadata.annotations": return text(pod.object.annotations)
        case "spec.nodeName": return pod.spec["nodeName"].string ?? ""
        case "spec.serviceAccountName": return pod.serviceAccount
        case "status.hostIP", "status.hostIPs": return sources.hostIP
        case "status.podIP": return sources.podIPs.first ?? ""
        case "status.podIPs": return sources.podIPs.joined(separator: ",")
        default: break
        }
        if let key = subscripted(path, "metadata.labels") { return pod.object.labels[key] ?? "" }
        if let key = subscripted(path, "metadata.annotations") { return pod.object.annotations[key] ?? "" }
        throw ContainerConfigError("unsupported fieldPath: \(path)")
    }

    private static func subscripted(_ path: String, _ field: String) -> String? {
        guard path.hasPrefix(field + "['"), path.hasSuffix("']") else { return nil }
        return String(path.dropFirst(field.count + 2).dropLast(2))
    }

    /// `key="value"`, a line each, sorted: the form in which the downward API writes labels.
    private static func text(_ members: [String: String]) -> String {
        members.sorted { $0.key < $1.key }.map { "\($0.key)=\(JSON($0.value).text())" }.joined(separator: "\n")
    }

    /// `limits.cpu` and the like, divided and rounded up.
    package static func resource(
        _ reference: JSON, defaultContainer: ContainerView?, of pod: PodView, _ allocatable: [String: String]
    ) throws(ContainerConfigError) -> String {
        let name = reference["containerName"].string ?? defaultContainer?.name ?? ""
        guard let container = pod.allContainers.first(where: { $0.name == name }) else {
            throw ContainerConfigError("container \(name) not found")
        }
        let path = reference["resource"].string ?? ""
        let parts = path.split(separator: ".", maxSplits: 1).map(String.init)
        guard parts.count == 2, parts[0] == "limits" || parts[0] == "requests" else {
            throw ContainerConfigError("unsupported container resource : \(path)")
        }
        let resources = container.json["resources"]
        var amount = resources[parts[0]][parts[1]]
        if amount == nil, parts[0] == "limits" { amount = allocatable[parts[1]].map(JSON.string) }
        let nano = max(amount.flatMap(ResourceAmount.quantity)?.nano ?? 0, 0)
        let divisor = reference["divisor"].flatMap(ResourceAmount.quantity)?.nano ?? 0
        let (whole, rest) = nano.quotientAndRemainder(dividingBy: divisor > 0 ? divisor : 1_000_000_000)
        return String(rest > 0 ? whole + 1 : whole)
    }
}

/// Variables in the order in which they were first set.
struct OrderedVariables {
    private var order: [String] = []
    private var values: [String: String] = [:]

    subscript(name: String) -> String? { values[name] }

    mutating func set(_ name: String, _ value: String) {
        if values.updateValue(value, forKey: name) == nil { order.append(name) }
    }

    var pairs: [(String, String)] { order.compactMap { name in values[name].map { (name, $0) } } }
}

/// The variables that tell a container of the Services that exist when it starts.
package enum ServiceLinks {
    package static func variables(
        namespace: String, services: [KubeObject], includingOwnNamespace: Bool
    ) -> [(String, String)] {
        var chosen: [String: KubeObject] = [:]
        for service in services {
            let address = service["spec"]["clusterIP"].string ?? ""
            guard !address.isEmpty, address != "None" else { continue }
            // The API server's Service is named everywhere; a pod's own namespace wins over it.
            if service.namespace == "default", service.name == "kubernetes", chosen["kubernetes"] == nil {
                chosen["kubernetes"] = service
            } else if includingOwnNamespace, service.namespace == namespace {
                chosen[service.name] = service
            }
        }
        return chosen.values.sorted { $0.name < $1.name }.flatMap(variables(of:))
    }

    private static func variables(of service: KubeObject) -> [(String, String)] {
        let address = service["spec"]["clusterIP"].string ?? ""
        let prefix = name(service.name)
        let ports = service["spec"]["ports"].array ?? []
        guard let first = ports.first, let firstPort = first["port"].int else { return [] }
        let host = address.contains(":") ? "[\(address)]" : address
        var result = [("\(prefix)_SERVICE_HOST", address), ("\(prefix)_SERVICE_PORT", "\(firstPort)")]
        for port in ports {
            guard let portName = port["name"].string, !portName.isEmpty, let number = port["port"].int else { continue }
            result.append(("\(prefix)_SERVICE_PORT_\(name(portName))", "\(number)"))
        }
        for (index, port) in ports.enumerated() {
            guard let number = port["port"].int else { continue }
            let transport = port["protocol"].string ?? "TCP"
            let lower = transport.lowercased()
            if index == 0 { result.append(("\(prefix)_PORT", "\(lower)://\(host):\(number)")) }
            let portPrefix = "\(prefix)_PORT_\(number)_\(transport.uppercased())"
            result.append((portPrefix, "\(lower)://\(host):\(number)"))
            result.append((portPrefix + "_PROTO", lower))
            result.append((portPrefix + "_PORT", "\(number)"))
            result.append((portPrefix + "_ADDR", address))
        }
        return result
    }

    private static func name(_ text: String) -> String {
        String(text.uppercased().map { $0 == "-" ? "_" : $0 })
    }
}
