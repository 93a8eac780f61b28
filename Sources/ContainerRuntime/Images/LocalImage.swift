// SPDX-License-Identifier: Apache-2.0

public import Values

/// An image that is in the store, unpacked and ready to run.
public struct LocalImage: Sendable, Hashable {
    /// The full reference under which it was found: `docker.io/library/busybox:1.36`.
    public var reference: String
    /// The digest of its configuration: `sha256:…`.
    public var id: String
    /// `docker.io/library/busybox@sha256:…`; empty for images that never were in a registry.
    public var repoDigests: [String]
    /// Every reference in the store that names this image.
    public var repoTags: [String]
    public var sizeBytes: Int
    /// Directories of the unpacked layers, the lowest first.
    public var layerPaths: [String]
    /// The OCI image configuration.
    public var config: JSON
    /// The reference of the original for which this built-in image answers; nil when it is the original.
    public var standsInFor: String?

    public init(
        reference: String, id: String, repoDigests: [String] = [], repoTags: [String] = [], sizeBytes: Int = 0,
        layerPaths: [String], config: JSON, standsInFor: String? = nil
    ) {
        self.reference = reference
        self.id = id
        self.repoDigests = repoDigests
        self.repoTags = repoTags
        self.sizeBytes = sizeBytes
        self.layerPaths = layerPaths
        self.config = config
        self.standsInFor = standsInFor
    }

    private func strings(_ member: String) -> [String] {
        config["config"][member].array?.compactMap(\.string) ?? []
    }

    public var entrypoint: [String] { strings("Entrypoint") }
    public var command: [String] { strings("Cmd") }
    /// `KEY=value`, in the image's order.
    public var environment: [String] { strings("Env") }
    /// Empty when the image names none: then `/` is meant.
    public var workingDirectory: String { config["config"]["WorkingDir"].string ?? "" }
    /// `user`, `uid`, `user:group` or `uid:gid`; empty for root.
    public var user: String { config["config"]["User"].string ?? "" }
    /// `SIGTERM`, `TERM` or a number; nil when the image names none.
    public var stopSignal: String? { config["config"]["StopSignal"].string }
}

/// What a registry wants to know about who pulls.
public struct RegistryCredential: Sendable, Hashable {
    /// The registry's host as docker's configuration writes it: `registry.example:5000`, `https://index.docker.io/v1/`,
    /// `registry.example/team`, `*.example`.
    public var registry: String
    public var username: String
    public var password: String
    /// An OAuth2 refresh token (`identitytoken` of docker's configuration).
    public var identityToken: String?
    /// A bearer token to be sent as it is (`registrytoken`).
    public var registryToken: String?

    public init(
        registry: String, username: String = "", password: String = "", identityToken: String? = nil,
        registryToken: String? = nil
    ) {
        self.registry = registry
        self.username = username
        self.password = password
        self.identityToken = identityToken
        self.registryToken = registryToken
    }
}
