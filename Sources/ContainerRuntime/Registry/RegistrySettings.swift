// SPDX-License-Identifier: Apache-2.0

import Glibc
public import Linux
import Values

/// How registries are reached: mirrors, registries without TLS, and proxies.
///
/// Read from `/etc/catbird/registries.json` (`{"mirrors": {"docker.io": ["https://mirror.example"]}, "insecure":
/// ["registry.example:5000", "10.0.0.0/24"]}`), from docker's `/etc/docker/daemon.json` (`registry-mirrors`,
/// `insecure-registries`), and from the environment (`HTTPS_PROXY` and the like).
public struct RegistrySettings: Sendable, Hashable {
    /// Base addresses to be tried before the registry itself, by the registry's domain.
    public var mirrors: [String: [String]]
    /// Registries, `HOST[:PORT]`, and ranges of addresses, that are spoken to over plain HTTP, or over TLS with any
    /// certificate; those on the loopback always are.
    public var insecure: Set<String>
    /// Docker's configuration with credentials: `auths` and `credHelpers`.
    public var dockerConfigPath: String?
    public var proxies: ProxySettings
    /// The network that registries are looked for in; nil: the process's own. For a node it is the machine's, so that
    /// `localhost` and names of the machine mean what they mean to whoever wrote them.
    public var network: NamespaceRef?
    /// How long a registry may take for a manifest, a configuration or a token, all in all.
    public var patience: Duration = .seconds(60)
    /// How slowly a layer may come.
    var pace = DownloadPace()

    public init(
        mirrors: [String: [String]] = [:], insecure: Set<String> = [], dockerConfigPath: String? = nil,
        proxies: ProxySettings = ProxySettings(), network: NamespaceRef? = nil
    ) {
        self.mirrors = mirrors
        self.insecure = insecure
        self.dockerConfigPath = dockerConfigPath
        self.proxies = proxies
        self.network = network
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
        result.proxies = ProxySettings(environment: environment)
        let folder = environment["DOCKER_CONFIG"] ?? environment["HOME"].map { $0 + "/.docker" }
        result.dockerConfigPath = folder.map { $0 + "/config.json" }
        return result
    }

    static func isLoopback(_ host: String) -> Bool {
        let (name, _) = ProxySettings.split(host)
        if name == "localhost" { return true }
        return IPAddress(name).map { $0.family == .v4 ? $0.v4Bits >> 24 == 127 : $0.bits == 1 } ?? false
    }

    /// What is wrong with an entry of ``insecure``; nil: nothing.
    public static func complaint(ofInsecure text: String) -> String? {
        if text.contains("://") { return "a registry is given without http:// or https://, as HOST[:PORT]" }
        if text.contains("/"), CIDR(text) == nil { return "it is neither HOST[:PORT] nor a range like 10.0.0.0/24" }
        if CIDR(text) == nil, !ImageReference.isDomain(text) { return "it is not HOST[:PORT]" }
        return nil
    }

    /// Whether plain HTTP, and TLS with any certificate, is allowed with a registry.
    func isInsecure(_ host: String) -> Bool {
        if Self.isLoopback(host) || insecure.contains(host) { return true }
        let (name, _) = ProxySettings.split(host)
        if insecure.contains(name) { return true }
        guard let address = IPAddress(name) else { return false }
        return insecure.contains { CIDR($0)?.contains(address) ?? false }
    }

    struct Endpoint: Sendable, Hashable {
        /// `https://registry.example:5000`.
        var base: String
        var host: String
        var isMirror: Bool
        var verifiesCertificates = true
        /// It may turn out that the registry speaks the other of HTTP and HTTPS: then the next one is asked.
        var isAttempt = false
    }

    /// Where to ask for an image, in order. What is insecure is asked over plain HTTP and then, if that is not what it
    /// speaks, over TLS.
    func endpoints(for reference: ImageReference) -> [Endpoint] {
        func endpoints(_ text: String, isMirror: Bool, isInsecure: Bool) -> [Endpoint] {
            if let range = text.firstRange(of: "://") {
                let host = text[range.upperBound...].prefix { $0 != "/" }
                var base = text
                while base.hasSuffix("/") { base.removeLast() }
                return [
                    Endpoint(
                        base: base, host: String(host), isMirror: isMirror,
                        verifiesCertificates: !self.isInsecure(String(host)))
                ]
            }
            let tls = Endpoint(
                base: "https://\(text)", host: text, isMirror: isMirror, verifiesCertificates: !isInsecure)
            guard isInsecure else { return [tls] }
            return [Endpoint(base: "http://\(text)", host: text, isMirror: isMirror, isAttempt: true), tls]
        }
        let mirrors = (mirrors[reference.domain] ?? []).flatMap {
            endpoints($0, isMirror: true, isInsecure: isInsecure($0))
        }
        let own = endpoints(
            reference.registryHost, isMirror: false, isInsecure: isInsecure(reference.domain))
        return mirrors + own
    }

    /// The proxy through which an image's registry is asked; nil: none.
    func proxy(for endpoint: Endpoint) -> ProxySettings.Proxy? {
        proxies.proxy(scheme: endpoint.base.hasPrefix("http://") ? "http" : "https", authority: endpoint.host)
    }
}
