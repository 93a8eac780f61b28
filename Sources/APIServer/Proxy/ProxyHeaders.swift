// SPDX-License-Identifier: Apache-2.0

import NIOHTTP1

/// Which headers go through a proxy.
enum ProxyHeaders {
    /// What concerns one connection only (RFC 9110, section 7.6.1).
    private static let hopByHop: Set<String> = [
        "connection", "proxy-connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade",
    ]
    /// What a client shows to us alone, and what we have answered to already.
    private static let ours: Set<String> = ["authorization", "expect"]
    private static let ourPrefixes = ["impersonate-", "x-remote-"]
    /// The server's own answers say which pages may use it; those of others do not.
    private static let origins: Set<String> = [
        "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
        "access-control-allow-origin",
    ]

    private static func named(by connection: [String]) -> Set<String> {
        Set(connection.flatMap { $0.split(separator: ",") }.map { $0.trimmingSpaces().lowercased() })
    }

    /// The headers of a client's request, for the backend. `forwardedURI` is the path by which the client knows it.
    static func request(
        _ request: IncomingRequest, upgrades: Bool, hasBody: Bool, forwardedURI: String
    ) -> HTTPHeaders {
        let named = named(by: request.headerValues("connection"))
        var headers = HTTPHeaders()
        for (name, value) in request.headers {
            let lower = name.lowercased()
            if hopByHop.contains(lower) || ours.contains(lower) || named.contains(lower) { continue }
            if ourPrefixes.contains(where: { lower.hasPrefix($0) }) { continue }
            if lower == "x-forwarded-for" || (lower == "content-length" && !hasBody) { continue }
            headers.add(name: name, value: value)
        }
        let hops = request.headerValues("x-forwarded-for") + [request.remoteAddress].filter { !$0.isEmpty }
        if !hops.isEmpty { headers.add(name: "X-Forwarded-For", value: hops.joined(separator: ", ")) }
        headers.replaceOrAdd(name: "X-Forwarded-Uri", value: forwardedURI)
        if upgrades, let upgrade = request.header("upgrade") {
            headers.add(name: "Connection", value: "Upgrade")
            headers.add(name: "Upgrade", value: upgrade)
        }
        return headers
    }

    /// The headers of a backend's answer, for the client.
    static func response(_ headers: HTTPHeaders, upgrades: Bool = false) -> [(name: String, value: String)] {
        let named = named(by: headers["connection"])
        return headers.compactMap { header in
            let lower = header.name.lowercased()
            if upgrades, lower == "connection" || lower == "upgrade" { return (header.name, header.value) }
            if hopByHop.contains(lower) || named.contains(lower) || origins.contains(lower) { return nil }
            return (header.name, header.value)
        }
    }
}
