// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
public import PKI
import Values
import YAMLCoding

/// The file by which kubectl finds clusters: `$KUBECONFIG`'s first file, or `~/.kube/config`.
///
/// Only the entries of one profile are touched. The file is locked as client-go does it (a `.lock` file beside it),
/// replaced in one step, and kept at mode 0600.
public struct Kubeconfig: Sendable {
    public let path: String

    public init(path: String? = nil) {
        let environment = HostEnvironment.current
        let first = environment["KUBECONFIG"]?.split(separator: ":").first.map(String.init)
        self.path = path ?? first ?? "\(HostEnvironment.home)/.kube/config"
    }

    /// The same for a profile and its administrator.
    public func add(
        _ profile: Profile, pki: ProfilePKI, namespace: String = "default", keepingContext: Bool = false
    ) throws {
        try add(
            profile: profile.name.text,
            server: "https://\(profile.controlPlaneNode?.address.description ?? "localhost"):\(Profile.apiPort)",
            certificateAuthorityPEM: pki.authority.certificatePEM, credentials: pki.administrator(),
            namespace: namespace, keepingContext: keepingContext)
    }

    /// Adds or replaces cluster, user and context named after the profile, and makes the context the current one unless
    /// `keepingContext`.
    public func add(
        profile: String, server: String, certificateAuthorityPEM: String, credentials: IssuedCertificate,
        namespace: String = "default", keepingContext: Bool = false
    ) throws {
        try change { config in
            let before = config["current-context"]
            Self.set(&config, profile, server, certificateAuthorityPEM, credentials, namespace)
            if keepingContext { config["current-context"] = before ?? "" }
        }
    }

    /// Removes the profile's entries; the current context is cleared when it was this one.
    public func remove(profile: String) throws {
        guard Files.exists(path) else { return }
        try change { config in
            for section in ["clusters", "users", "contexts"] { Self.set(&config, section, profile, nil) }
            if config["current-context"].string == profile { config["current-context"] = "" }
        }
    }

    /// The context kubectl uses when none is named.
    public var currentContext: String? {
        (try? Files.text(path)).flatMap { try? YAML.document($0) }.flatMap { $0["current-context"].string }
    }

    /// The API server that a context leads to.
    public func server(ofContext name: String) -> String? {
        guard let config = (try? Files.text(path)).flatMap({ try? YAML.document($0) }) else { return nil }
        func entry(_ section: String, _ name: String?) -> JSON? {
            config[section].array?.first { $0["name"].string == name }
        }
        let cluster = entry("contexts", name)?["context"]["cluster"].string
        return entry("clusters", cluster)?["cluster"]["server"].string
    }

    /// A kubeconfig with one cluster, user and context: what a component is given.
    static func document(
        profile: String, server: String, certificateAuthorityPEM: String, credentials: IssuedCertificate
    ) -> JSON {
        var config: JSON = ["apiVersion": "v1", "kind": "Config"]
        set(&config, profile, server, certificateAuthorityPEM, credentials)
        return config
    }

    private static func set(
        _ config: inout JSON, _ profile: String, _ server: String, _ authorityPEM: String,
        _ credentials: IssuedCertificate, _ namespace: String = "default"
    ) {
        let base64 = { (text: String) in JSON(Base64.text(Array(text.utf8))) }
        set(
            &config, "clusters", profile,
            [
                "name": JSON(profile),
                "cluster": ["certificate-authority-data": base64(authorityPEM), "server": JSON(server)],
            ])
        set(
            &config, "users", profile,
            [
                "name": JSON(profile),
                "user": [
                    "client-certificate-data": base64(credentials.certificatePEM),
                    "client-key-data": base64(credentials.privateKeyPEM),
                ],
            ])
        set(
            &config, "contexts", profile,
            [
                "name": JSON(profile),
                "context": ["cluster": JSON(profile), "namespace": JSON(namespace), "user": JSON(profile)],
            ])
        config["current-context"] = JSON(profile)
    }

    private static func set(_ config: inout JSON, _ section: String, _ name: String, _ entry: JSON?) {
        var entries = config[section].array ?? []
        if let index = entries.firstIndex(where: { $0["name"].string == name }) {
            entries.remove(at: index)
            if let entry { entries.insert(entry, at: index) }
        } else if let entry {
            entries.append(entry)
        }
        config[section] = .array(entries)
    }

    private func change(_ edit: (inout JSON) -> Void) throws {
        try Files.makeDirectories(Files.directory(of: path), mode: 0o750)
        let lock = try ClientGoLock(path: "\(path).lock")
        defer { lock.release() }
        var config: JSON = [:]
        if Files.exists(path) {
            let text = try Files.text(path)
            do {
                let read = try YAML.document(text)
                if read.object != nil { config = read }
            } catch {
                throw LocalClusterError(
                    .hostUnsupported, "The kubeconfig \(path) is not valid YAML: \(error)",
                    nextStep: "Mend or move the file, or point KUBECONFIG at another one.")
            }
        }
        if config["apiVersion"] == nil { config["apiVersion"] = "v1" }
        if config["kind"] == nil { config["kind"] = "Config" }
        if config["preferences"] == nil { config["preferences"] = [:] }
        edit(&config)
        // A link stays a link: what it points to is replaced.
        let target = Files.kind(path) == .symbolicLink ? (realPath(path) ?? path) : path
        try Files.replace(target, with: Array(YAML.text(config).utf8), mode: 0o600)
    }

    private func realPath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}

/// The lock of client-go's `ModifyConfig`: whoever creates the file holds it.
private struct ClientGoLock {
    let path: String

    init(path: String) throws {
        self.path = path
        let fd = open(path, O_CREAT | O_EXCL | O_CLOEXEC | O_WRONLY, 0o600)
        guard fd >= 0 else {
            guard errno == EEXIST else { throw Errno("open", path) }
            throw LocalClusterError(
                .resourceInUse, "The kubeconfig is locked by another program (\(path) exists).",
                nextStep: "Try again; if no kubectl or catbird is running, remove \(path).")
        }
        close(fd)
    }

    func release() { unlink(path) }
}
