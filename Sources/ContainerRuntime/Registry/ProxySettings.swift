// SPDX-License-Identifier: Apache-2.0

import Values

/// Which requests leave through which proxy: what `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say, in either case, read
/// as Go's programs (docker, containerd, kubectl) read them.
public struct ProxySettings: Sendable, Hashable {
    /// One proxy, and the variable that names it.
    public struct Proxy: Sendable, Hashable, CustomStringConvertible {
        public enum Kind: String, Sendable, Hashable { case http, socks5, unsupported }
        public var kind: Kind
        public var host: String
        public var port: Int
        /// `user:password`, never shown.
        var credentials: String?
        /// As it was given, without credentials.
        var text: String
        public var variable: String

        public var description: String { "\(text) (\(variable))" }
    }

    public var https: Proxy?
    public var http: Proxy?
    /// What is reached directly: hosts, domains, addresses and ranges, with or without a port.
    public var exceptions: [String]

    public init(https: Proxy? = nil, http: Proxy? = nil, exceptions: [String] = []) {
        self.https = https
        self.http = http
        self.exceptions = exceptions
    }

    public init(environment: [String: String]) {
        func proxy(_ name: String) -> Proxy? {
            for variable in [name, name.lowercased()] {
                if let value = environment[variable], !value.isEmpty { return Proxy(value, variable: variable) }
            }
            return nil
        }
        let exceptions = [environment["NO_PROXY"], environment["no_proxy"]].lazy.compactMap(\.self)
            .first { !$0.isEmpty }
        self.init(
            https: proxy("HTTPS_PROXY"), http: proxy("HTTP_PROXY"),
            exceptions: (exceptions ?? "").split { $0 == "," || $0 == " " }.map { $0.lowercased() })
    }

    /// The variables that are read.
    public static let variables = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"]

    /// The proxy for requests to `authority` (`HOST[:PORT]`); nil: directly.
    func proxy(scheme: String, authority: String) -> Proxy? {
        guard let proxy = scheme == "https" ? https : http else { return nil }
        let (host, port) = Self.split(authority)
        return isExcepted(host, port ?? (scheme == "https" ? 443 : 80)) ? nil : proxy
    }

    private func isExcepted(_ host: String, _ port: Int) -> Bool {
        if RegistrySettings.isLoopback(host) { return true }
        let address = IPAddress(host)
        return exceptions.contains { exception in
            if exception == "*" { return true }
            if let range = CIDR(exception) { return address.map { range.contains($0) } ?? false }
            let (name, wantedPort) = Self.split(exception)
            if let wantedPort, wantedPort != port { return false }
            if let wanted = IPAddress(name) { return wanted == address }
            // `example.com` is the domain and what is in it, `.example.com` and `*.example.com` only what is in it.
            let suffix = name.hasPrefix("*.") ? String(name.dropFirst()) : name.hasPrefix(".") ? name : "." + name
            return host.hasSuffix(suffix) || (suffix.dropFirst() == host && !name.hasPrefix(".") && name == host)
        }
    }

    /// Host, in lower case and without brackets, and port.
    static func split(_ authority: String) -> (host: String, port: Int?) {
        var host = Substring(authority)
        var port: Int?
        if host.hasPrefix("["), let end = host.firstIndex(of: "]") {
            let rest = host[host.index(after: end)...]
            if rest.hasPrefix(":") { port = Int(rest.dropFirst()) }
            host = host[host.index(after: host.startIndex)..<end]
        } else if let colon = host.firstIndex(of: ":"), colon == host.lastIndex(of: ":") {
            port = Int(host[host.index(after: colon)...])
            host = host[..<colon]
        }
        while host.hasSuffix(".") { host = host.dropLast() }
        return (host.lowercased(), port)
    }
}

extension ProxySettings.Proxy {
    /// `[http://][USER:PASSWORD@]HOST[:PORT]`, or `socks5://…`.
    init(_ value: String, variable: String) {
        var rest = Substring(value)
        var scheme = "http"
        if let range = rest.firstRange(of: "://") {
            scheme = rest[..<range.lowerBound].lowercased()
            rest = rest[range.upperBound...]
        }
        rest = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        var credentials: String?
        if let at = rest.lastIndex(of: "@") {
            credentials = Self.decoded(rest[..<at])
            rest = rest[rest.index(after: at)...]
        }
        let (host, port) = ProxySettings.split(String(rest))
        switch scheme {
        case "http": kind = .http
        case "socks5", "socks5h": kind = .socks5
        default: kind = .unsupported
        }
        if host.isEmpty || port.map({ !(1...65535).contains($0) }) == true { kind = .unsupported }
        self.host = host
        self.port = port ?? (kind == .socks5 ? 1080 : 80)
        self.credentials = credentials
        text = "\(scheme)://\(rest)"
        self.variable = variable
    }

    /// Without the percent signs of URLs.
    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            if byte == UInt8(ascii: "%"), digits.utf8.count == 2, let value = UInt8(digits, radix: 16) {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
