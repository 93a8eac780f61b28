// SPDX-License-Identifier: Apache-2.0

/// The address of an API server, taken apart.
struct ServerURL: Sendable, Equatable {
    let isTLS: Bool
    /// Without the brackets of an IPv6 address.
    let host: String
    let port: Int?
    /// Empty, or a path with a leading and no trailing slash.
    let path: String

    /// Like kubectl, takes an address without a scheme as HTTP.
    init(_ text: String) throws {
        var rest = Substring(text)
        var isTLS = false
        if rest.hasPrefix("https://") {
            isTLS = true
            rest = rest.dropFirst(8)
        } else if rest.hasPrefix("http://") {
            rest = rest.dropFirst(7)
        }
        self.isTLS = isTLS
        let authority = rest.prefix { $0 != "/" }
        let path = rest.dropFirst(authority.count)
        self.path = String(path.hasSuffix("/") ? path.dropLast() : path)
        let port: Substring?
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { throw Self.failure(text) }
            host = String(authority[authority.index(after: authority.startIndex)..<end])
            let tail = authority[authority.index(after: end)...]
            guard tail.isEmpty || tail.hasPrefix(":") else { throw Self.failure(text) }
            port = tail.isEmpty ? nil : tail.dropFirst()
        } else {
            let parts = authority.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            host = String(parts.first ?? "")
            port = parts.count == 2 ? parts[1] : nil
        }
        let allowed = host.utf8.allSatisfy { (0x21...0x7E).contains($0) && !"@?#[]%\\".utf8.contains($0) }
        guard !host.isEmpty, allowed else { throw Self.failure(text) }
        if let port {
            guard let number = Int(port), (1...65535).contains(number) else { throw Self.failure(text) }
            self.port = number
        } else {
            self.port = nil
        }
    }

    private static func failure(_ text: String) -> ClientConfigurationError {
        ClientConfigurationError("the server '\(text)' is no address of the form https://HOST:PORT")
    }

    func text(host: String) -> String {
        let shown = host.contains(":") ? "[\(host)]" : host
        return (isTLS ? "https://" : "http://") + shown + (port.map { ":\($0)" } ?? "") + path
    }
}
