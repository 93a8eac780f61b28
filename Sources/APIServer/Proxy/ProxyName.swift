// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// Whom a proxied request names in its path: `name`, `name:port` or `scheme:name:port`, where the port is a number or
/// a name, and may be empty.
struct ProxyName: Sendable, Hashable {
    enum Scheme: String { case http, https }

    var scheme = Scheme.http
    var name: String
    var port = ""

    /// Nil for what is none of these forms.
    init?(_ text: String) {
        var parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard (1...3).contains(parts.count) else { return nil }
        if parts.count == 3 {
            let scheme = parts.removeFirst()
            guard scheme.isEmpty || Scheme(rawValue: scheme) != nil else { return nil }
            self.scheme = Scheme(rawValue: scheme) ?? .http
        }
        guard !parts[0].isEmpty else { return nil }
        name = parts[0]
        if parts.count == 2 { port = parts[1] }
    }
}
