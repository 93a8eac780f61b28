// SPDX-License-Identifier: Apache-2.0

import Glibc
import Values

/// A kubeconfig or the surroundings of a pod do not say how to reach an API server.
public struct ClientConfigurationError: Error, Sendable, CustomStringConvertible {
    public let message: String
    public init(_ message: String) { self.message = message }
    public var description: String { message }
}

/// Where an API server is and who we are to it.
public struct ClientConfiguration: Sendable, Equatable {
    /// Scheme, host, port and, behind some proxies, a path: `https://192.168.49.2:8443`.
    public var server: String
    /// Authorities of the server's certificate; nil for those of the machine.
    public var caPEM: String?
    /// The name that the server's certificate must carry, when it is not the host of ``server``.
    public var tlsServerName: String?
    public var insecureSkipTLSVerify = false
    public var certificatePEM: String?
    public var privateKeyPEM: String?
    public var token: String?
    /// A token that is renewed in its file; read again from time to time.
    public var tokenFile: String?
    /// The namespace to use where a command names none.
    public var namespace: String?

    public init(
        server: String, caPEM: String? = nil, certificatePEM: String? = nil, privateKeyPEM: String? = nil,
        token: String? = nil, tokenFile: String? = nil, namespace: String? = nil
    ) {
        self.server = server
        self.caPEM = caPEM
        self.certificatePEM = certificatePEM
        self.privateKeyPEM = privateKeyPEM
        self.token = token
        self.tokenFile = tokenFile
        self.namespace = namespace
    }

    /// Reads a kubeconfig file; `context` instead of its current one.
    public static func kubeconfig(path: String, context: String? = nil) throws -> ClientConfiguration {
        try Kubeconfig(paths: [path]).configuration(context: context)
    }

    /// What a pod finds: the service's address in its environment, token and authority in its file system.
    public static func inCluster(
        environment: [String: String] = Files.environment,
        serviceAccount: String = "/var/run/secrets/kubernetes.io/serviceaccount"
    ) throws -> ClientConfiguration {
        guard let host = environment["KUBERNETES_SERVICE_HOST"], !host.isEmpty,
            let port = environment["KUBERNETES_SERVICE_PORT"], !port.isEmpty
        else {
            throw ClientConfigurationError(
                "this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; pass --kubeconfig")
        }
        let authority = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        let token = serviceAccount + "/token"
        _ = try Files.text(token)
        return ClientConfiguration(
            server: "https://\(authority)", caPEM: try Files.text(serviceAccount + "/ca.crt"), tokenFile: token,
            namespace: try? Files.text(serviceAccount + "/namespace").trimmed)
    }

    /// The kubeconfig named, else those of `$KUBECONFIG`, else `~/.kube/config`, else the pod's surroundings: the order
    /// that users know from kubectl.
    public static func discover(
        kubeconfig: String? = nil, context: String? = nil, environment: [String: String] = Files.environment
    ) throws -> ClientConfiguration {
        if let kubeconfig { return try self.kubeconfig(path: kubeconfig, context: context) }
        let listed = (environment["KUBECONFIG"] ?? "").split(separator: ":").map(String.init)
        let paths = listed.isEmpty ? environment["HOME"].map { ["\($0)/.kube/config"] } ?? [] : listed
        let existing = paths.filter { access($0, F_OK) == 0 }
        if !existing.isEmpty { return try Kubeconfig(paths: existing).configuration(context: context) }
        do {
            return try inCluster(environment: environment)
        } catch {
            let places = paths.isEmpty ? "HOME is not set" : "there is no \(paths.joined(separator: ", "))"
            throw ClientConfigurationError("no cluster to talk to: \(places), and \(error)")
        }
    }
}

extension String {
    var trimmed: String {
        var text = Substring(self)
        while text.last?.isWhitespace == true { text.removeLast() }
        while text.first?.isWhitespace == true { text.removeFirst() }
        return String(text)
    }
}

/// Reading small files and the environment.
public enum Files {
    /// The environment of this process.
    public static var environment: [String: String] {
        var result: [String: String] = [:]
        var entry = Glibc.environ
        while let text = entry.pointee {
            let pair = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if pair.count == 2 { result[String(pair[0])] = String(pair[1]) }
            entry += 1
        }
        return result
    }

    /// A text file of at most 16 MiB.
    static func text(_ path: String) throws -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw ClientConfigurationError("\(path): \(String(cString: strerror(errno)))") }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = read(file, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw ClientConfigurationError("\(path): \(String(cString: strerror(errno)))") }
            if count == 0 { break }
            bytes += chunk[..<count]
            guard bytes.count <= 16 << 20 else { throw ClientConfigurationError("\(path) is larger than 16 MiB") }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ClientConfigurationError("\(path) is not UTF-8 text")
        }
        return text
    }
}
