// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// How registries are reached: mirrors, and registries without TLS.
///
/// Read from `/etc/catbird/registries.json` (`{"mirrors": {"docker.io": ["https://mirror.example"]}, "insecure":
/// ["registry.example:5000"]}`), and from docker's `/etc/docker/daemon.json` (`registry-mirrors`,
/// `insecure-registries`).
public struct RegistrySettings: Sendable, Hashable {
    /// Base addresses to be tried before the registry itself, by the registry's domain.
    public var mirrors: [String: [String]]
    /// Registries that are spoken to over plain HTTP; those on the loopback always are.
    public var insecure: Set<String>
    /// Docker's configuration with credentials: `auths` and `credHelpers`.
    public var dockerConfigPath: String?

    public init(mirrors: [String: [String]] = [:], insecure: Set<String> = [], dockerConfigPath: String? = nil) {
        self.mirrors = mirrors
        self.insecure = insecure
        self.dockerConfigPath = dockerConfigPath
    }

    public static func ofThisMachine(
        catbirdFile: String = "/etc/catbird/registries.json", dockerFile: String = "/etc/docker/daemon.json"
    ) -> RegistrySettings {
        var result = RegistrySettings()
        if let bytes = try? Files.read(catbirdFile), let json = try? JSON(parsing: bytes) {
            for (domain, list) in json["mirrors"].object ?? [:] {
                result.mirrors[domain] = list.array?.compactMap(\.string) ?? []
            }
            result.insecure.formUnion(json["insecure"].array?.compactMap(\.string) ?? [])
        }
        if let bytes = try? Files.read(dockerFile), let json = try? JSON(parsing: bytes) {
            let mirrors = json["registry-mirrors"].array?.compactMap(\.string) ?? []
            result.mirrors["docker.io", default: []] += mirrors
            result.insecure.formUnion(json["insecure-registries"].array?.compactMap(\.string) ?? [])
        }
        let environment = ProcessSpawner.ownEnvironment
        let folder = environment["DOCKER_CONFIG"] ?? environment["HOME"].map { $0 + "/.docker" }
        result.dockerConfigPath = folder.map { $0 + "/config.json" }
        return result
    }

    static func isLoopback(_ host: String) -> Bool {
        var name = Substring(host)
        if let colon = name.lastIndex(of: ":"), !name.hasSuffix("]") { name = name[..<colon] }
        if name == "localhost" || name == "[::1]" { return true }
        return IPAddress(name).map { $0.family == .v4 && $0.v4Bits >> 24 == 127 } ?? false
    }

    struct Endpoint: Sendable, Hashable {
        /// `https://registry.example:5000`.
        var base: String
        var host: String
        var isMirror: Bool
    }

    /// Where to ask for an image, in order.
    func endpoints(for reference: ImageReference) -> [Endpoint] {
        func endpoint(_ text: String, isMirror: Bool) -> Endpoint {
            if let range = text.firstRange(of: "://") {
                let host = text[range.upperBound...].prefix { $0 != "/" }
                var base = text
                while base.hasSuffix("/") { base.removeLast() }
                return Endpoint(base: base, host: String(host), isMirror: isMirror)
            }
            let plain = Self.isLoopback(text) || insecure.contains(text)
            return Endpoint(base: "\(plain ? "http" : "https")://\(text)", host: text, isMirror: isMirror)
        }
        var result = (mirrors[reference.domain] ?? []).map { endpoint($0, isMirror: true) }
        let host = reference.registryHost
        var own = endpoint(host, isMirror: false)
        if insecure.contains(reference.domain) { own.base = "http://\(host)" }
        result.append(own)
        return result
    }
}
