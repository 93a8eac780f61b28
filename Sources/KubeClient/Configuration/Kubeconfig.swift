// SPDX-License-Identifier: Apache-2.0

import Values
import YAMLCoding

/// One or more kubeconfig files, YAML or JSON, read as one: of entries with the same name the first counts.
public struct Kubeconfig: Sendable {
    private struct Entry: Sendable {
        let value: JSON
        /// The file it came from, and its folder, against which its paths are relative.
        let file: String
    }

    public private(set) var currentContext: String?
    private var clusters: [String: Entry] = [:]
    private var users: [String: Entry] = [:]
    private var contexts: [String: Entry] = [:]

    public init(paths: [String]) throws {
        for path in paths { try add(text: try Files.text(path), file: path) }
    }

    /// Reads one text as if it stood in `file`.
    public init(text: String, file: String = "kubeconfig") throws { try add(text: text, file: file) }

    /// The names of all contexts, sorted.
    public var contextNames: [String] { contexts.keys.sorted() }

    private mutating func add(text: String, file: String) throws {
        let document: JSON
        do {
            document = try YAML.document(text)
        } catch {
            throw ClientConfigurationError("\(file) is no kubeconfig: \(error)")
        }
        guard !document.isNull else { return }
        guard document.object != nil else {
            throw ClientConfigurationError("\(file) is no kubeconfig: it holds \(document.typeName), not an object")
        }
        if currentContext == nil, let current = document["current-context"].string, !current.isEmpty {
            currentContext = current
        }
        try Self.add(document, "clusters", "cluster", to: &clusters, file)
        try Self.add(document, "users", "user", to: &users, file)
        try Self.add(document, "contexts", "context", to: &contexts, file)
    }

    private static func add(
        _ document: JSON, _ list: String, _ member: String, to entries: inout [String: Entry], _ file: String
    ) throws {
        guard let value = document[list], !value.isNull else { return }
        guard let elements = value.array else {
            throw ClientConfigurationError("\(file): '\(list)' is \(value.typeName), not a list")
        }
        for (index, element) in elements.enumerated() {
            guard let name = element["name"].string else {
                throw ClientConfigurationError("\(file): \(list)[\(index)] has no name")
            }
            if entries[name] == nil { entries[name] = Entry(value: element[member] ?? [:], file: file) }
        }
    }

    /// How to reach the cluster of a context.
    public func configuration(context name: String? = nil) throws -> ClientConfiguration {
        guard let name = name ?? currentContext else {
            throw ClientConfigurationError(
                "the kubeconfig names no current context; choose one of: \(contextNames.joined(separator: ", "))")
        }
        guard let context = contexts[name] else {
            let known = contextNames.isEmpty ? "it has none" : "it has: \(contextNames.joined(separator: ", "))"
            throw ClientConfigurationError("the kubeconfig has no context '\(name)'; \(known)")
        }
        guard let clusterName = context.value["cluster"].string, let cluster = clusters[clusterName] else {
            let cluster = context.value["cluster"].string ?? ""
            throw ClientConfigurationError(
                "\(context.file): context '\(name)' names cluster '\(cluster)', which is not there")
        }
        guard let server = cluster.value["server"].string, !server.isEmpty else {
            throw ClientConfigurationError("\(cluster.file): cluster '\(clusterName)' has no server")
        }
        var result = ClientConfiguration(server: server)
        result.caPEM = try Self.material(cluster, "certificate-authority", "cluster '\(clusterName)'")
        result.tlsServerName = cluster.value["tls-server-name"].string
        result.insecureSkipTLSVerify = cluster.value["insecure-skip-tls-verify"].bool ?? false
        result.namespace = context.value["namespace"].string.flatMap { $0.isEmpty ? nil : $0 }
        if let userName = context.value["user"].string, !userName.isEmpty {
            guard let user = users[userName] else {
                throw ClientConfigurationError(
                    "\(context.file): context '\(name)' names user '\(userName)', which is not there")
            }
            try Self.identify(&result, user, userName)
        }
        return result
    }

    private static func identify(_ result: inout ClientConfiguration, _ user: Entry, _ name: String) throws {
        let what = "user '\(name)'"
        result.certificatePEM = try material(user, "client-certificate", what)
        result.privateKeyPEM = try material(user, "client-key", what)
        guard (result.certificatePEM == nil) == (result.privateKeyPEM == nil) else {
            throw ClientConfigurationError(
                "\(user.file): \(what) has only one of client-certificate and client-key; both are needed")
        }
        result.token = user.value["token"].string.flatMap { $0.isEmpty ? nil : $0 }
        if result.token == nil, let file = user.value["tokenFile"].string, !file.isEmpty {
            result.tokenFile = resolve(file, user.file)
        }
        let hasIdentity = result.certificatePEM != nil || result.token != nil || result.tokenFile != nil
        if !hasIdentity, let plugin = ["exec", "auth-provider", "username"].first(where: { user.value[$0] != nil }) {
            throw ClientConfigurationError(
                "\(user.file): \(what) identifies itself by '\(plugin)', which is not supported; use a client certificate or a token"
            )
        }
    }

    /// What `NAME-data` holds in Base64, or the file that `NAME` names.
    private static func material(_ entry: Entry, _ name: String, _ what: String) throws -> String? {
        if let data = entry.value[name + "-data"].string, !data.isEmpty {
            guard let bytes = Base64.bytes(data), let text = String(validating: bytes, as: UTF8.self) else {
                throw ClientConfigurationError("\(entry.file): \(what): \(name)-data is no text in Base64")
            }
            return text
        }
        guard let path = entry.value[name].string, !path.isEmpty else { return nil }
        return try Files.text(resolve(path, entry.file))
    }

    private static func resolve(_ path: String, _ file: String) -> String {
        guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
        return file[...slash] + path
    }
}
