// SPDX-License-Identifier: Apache-2.0

public import ContainerRuntime
import Linux
import Values

/// How a cluster's nodes reach registries: what was given at its start.
public struct PullSettings: Sendable, Hashable {
    /// `--docker-env KEY=VALUE`.
    public var environment: [String: String]
    /// The proxies of the environment that the cluster was started from; `environment` has precedence.
    public var surroundings: [String: String]
    /// `--insecure-registry`: hosts, with or without a port, and ranges.
    public var insecureRegistries: [String]

    public init(
        environment: [String: String] = [:], surroundings: [String: String] = [:], insecureRegistries: [String] = []
    ) {
        self.environment = environment
        self.surroundings = surroundings.filter { ProxySettings.variables.contains($0.key) }
        self.insecureRegistries = insecureRegistries
    }

    /// What pulls go by: either case of a variable that was given replaces both that were found.
    public var effective: [String: String] {
        let given = Set(environment.keys.map { $0.uppercased() })
        return surroundings.filter { !given.contains($0.key.uppercased()) }.merging(environment) { $1 }
    }

    var json: JSON {
        [
            "environment": .object(JSONObject(environment.sorted { $0.key < $1.key }.map { ($0, JSON($1)) })),
            "surroundings": .object(JSONObject(surroundings.sorted { $0.key < $1.key }.map { ($0, JSON($1)) })),
            "insecureRegistries": JSON(insecureRegistries),
        ]
    }

    init(_ json: JSON?) {
        func strings(_ member: String) -> [String: String] {
            (json[member].object ?? [:]).reduce(into: [:]) { $0[$1.key] = $1.value.string }
        }
        self.init(
            environment: strings("environment"), surroundings: strings("surroundings"),
            insecureRegistries: json["insecureRegistries"].array?.compactMap(\.string) ?? [])
    }

    /// What these settings mean on this machine.
    public var registries: RegistrySettings {
        var result = RegistrySettings.ofThisMachine()
        result.insecure.formUnion(insecureRegistries)
        result.proxies = ProxySettings(environment: effective)
        return result
    }

    /// What a node is told of it: besides, the machine's own settings, which the node's files do not have, and the
    /// cluster's ranges, of which no proxy knows and whose registries have no certificates.
    func description(ranges: [CIDR]) -> JSON {
        let machine = RegistrySettings.ofThisMachine()
        return [
            "mirrors": .object(JSONObject(machine.mirrors.sorted { $0.key < $1.key }.map { ($0, JSON($1)) })),
            "insecure": JSON(
                (machine.insecure.union(insecureRegistries).sorted()) + ranges.map(\.description)),
            "environment": .object(JSONObject(effective.sorted { $0.key < $1.key }.map { ($0, JSON($1)) })),
            "direct": JSON(ranges.map(\.description)),
        ]
    }

    /// The other end of ``description(ranges:)``.
    static func registries(_ json: JSON, network: NamespaceRef?) -> RegistrySettings {
        var result = RegistrySettings.ofThisMachine()
        for (domain, list) in json["mirrors"].object ?? [:] {
            result.mirrors[domain] = list.array?.compactMap(\.string) ?? []
        }
        result.insecure.formUnion(json["insecure"].array?.compactMap(\.string) ?? [])
        result.proxies = ProxySettings(
            environment: (json["environment"].object ?? [:]).reduce(into: [:]) { $0[$1.key] = $1.value.string })
        result.proxies.exceptions += json["direct"].array?.compactMap(\.string) ?? []
        result.network = network
        return result
    }
}
