// SPDX-License-Identifier: Apache-2.0

/// Leads links in a backend's answers back through the proxy.
struct ProxyLinks: Sendable {
    /// Host and port of the backend.
    var backend: String
    /// The `Host` that the client asked for.
    var requested: String
    /// The path that comes before the backend's own: `/api/v1/namespaces/default/pods/web/proxy`.
    var prefix: String

    /// The link to follow instead. Those to other hosts stay, and so do relative ones: a client resolves these against
    /// a path that has the prefix already.
    func rewritten(_ link: String) -> String {
        var rest = link[...]
        var scheme: Substring?
        if let colon = rest.firstIndex(where: { "/?#:".contains($0) }), rest[colon] == ":" {
            scheme = rest[..<colon]
            rest = rest[rest.index(after: colon)...]
        }
        var host: Substring?
        if rest.hasPrefix("//") {
            rest = rest.dropFirst(2)
            let end = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
            host = rest[..<end]
            rest = rest[end...]
        } else if scheme != nil {
            // `mailto:` and its like name no place.
            return link
        }
        guard rest.hasPrefix("/") else { return link }
        let isRequested = host.map { !$0.isEmpty && $0 == requested } ?? false
        if let host, !host.isEmpty, host != backend, !isRequested { return link }
        var result = ""
        if isRequested, let host {
            if let scheme { result += "\(scheme):" }
            result += "//\(host)"
        }
        if !rest.hasPrefix(prefix) { result += prefix }
        return result + rest
    }
}
