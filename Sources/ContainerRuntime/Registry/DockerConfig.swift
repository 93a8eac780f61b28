// SPDX-License-Identifier: Apache-2.0

import Linux
public import Values

/// Docker's `config.json`, or a Secret of type `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg`.
public struct DockerConfig: Sendable, Hashable {
    public var credentials: [RegistryCredential] = []
    /// Programs that hold credentials, by registry. They are not run; messages name them.
    public var helpers: [String: String] = [:]
    /// The helper for all other registries (`credsStore`).
    public var defaultHelper: String?

    public init() {}

    /// Takes the whole file, or the inner object alone as `dockercfg` has it.
    public init(_ json: JSON) {
        let auths =
            json["auths"].object ?? (json["credHelpers"] == nil && json["credsStore"] == nil ? json.object : nil)
        for (registry, entry) in auths ?? [:] {
            guard entry.object != nil else { continue }
            var credential = RegistryCredential(
                registry: registry, username: entry["username"].string ?? "", password: entry["password"].string ?? "")
            if let auth = entry["auth"].string, let bytes = Base64.bytes(auth) {
                let text = String(decoding: bytes, as: UTF8.self)
                if let colon = text.firstIndex(of: ":") {
                    credential.username = String(text[..<colon])
                    // Some writers pad the password with zero bytes.
                    credential.password = String(text[text.index(after: colon)...].filter { $0 != "\0" })
                }
            }
            credential.identityToken = entry["identitytoken"].string.flatMap { $0.isEmpty ? nil : $0 }
            credential.registryToken = entry["registrytoken"].string.flatMap { $0.isEmpty ? nil : $0 }
            if credential.username.isEmpty, credential.identityToken == nil, credential.registryToken == nil {
                continue
            }
            credentials.append(credential)
        }
        for (registry, helper) in json["credHelpers"].object ?? [:] { helpers[registry] = helper.string }
        defaultHelper = json["credsStore"].string
    }

    static func read(_ path: String?) -> DockerConfig {
        guard let path, let bytes = try? Files.read(path), let json = try? JSON(parsing: bytes) else {
            return DockerConfig()
        }
        return DockerConfig(json)
    }

    /// The program that would know the credentials for an image, if one is configured.
    func helper(for reference: ImageReference) -> String? {
        for (registry, helper) in helpers.sorted(by: { $0.key < $1.key })
        where RegistryCredential(registry: registry).specificity(for: reference) != nil { return helper }
        return defaultHelper
    }
}

extension RegistryCredential {
    /// How well the credential's registry names the image: longer is better, nil not at all.
    func specificity(for reference: ImageReference) -> Int? {
        var text = Substring(registry)
        for scheme in ["https://", "http://"] where text.hasPrefix(scheme) { text = text.dropFirst(scheme.count) }
        while text.hasSuffix("/") { text = text.dropLast() }
        // Old keys carry the version of the API.
        for version in ["/v1", "/v2"] where text.hasSuffix(version) { text = text.dropLast(version.count) }
        let parts = text.split(separator: "/", maxSplits: 1)
        guard let host = parts.first else { return nil }
        let hosts =
            reference.domain == "docker.io"
            ? ["docker.io", "index.docker.io", "registry-1.docker.io"] : [reference.domain]
        guard hosts.contains(where: { Self.matches(host, $0) }) else { return nil }
        guard parts.count == 2 else { return host.contains("*") ? 0 : 1 }
        let prefix = String(parts[1])
        guard reference.path == prefix || reference.path.hasPrefix(prefix + "/") else { return nil }
        return 2 + prefix.utf8.count
    }

    /// Labels of a host one by one; `*` stands for anything within one.
    private static func matches(_ pattern: Substring, _ host: String) -> Bool {
        if !pattern.contains("*") { return pattern == host }
        let wanted = pattern.split(separator: ".", omittingEmptySubsequences: false)
        let found = host.split(separator: ".", omittingEmptySubsequences: false)
        guard wanted.count == found.count else { return false }
        return zip(wanted, found).allSatisfy { pattern, label in
            guard let star = pattern.firstIndex(of: "*") else { return pattern == label }
            let head = pattern[..<star]
            let tail = pattern[pattern.index(after: star)...]
            return label.count >= head.count + tail.count && label.hasPrefix(head) && label.hasSuffix(tail)
        }
    }

    /// Those that fit an image, the most specific first.
    package static func matching(_ reference: ImageReference, among all: [RegistryCredential]) -> [RegistryCredential] {
        all.enumerated().compactMap { index, credential in
            credential.specificity(for: reference).map { (-$0, index, credential) }
        }
        .sorted { ($0.0, $0.1) < ($1.0, $1.1) }
        .map(\.2)
    }
}
