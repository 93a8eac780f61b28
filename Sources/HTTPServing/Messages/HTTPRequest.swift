// SPDX-License-Identifier: Apache-2.0

public import NIOHTTP1
import PKI
import Values

/// A request as a handler sees it.
public struct HTTPRequest: Sendable {
    /// In upper case.
    public var method: String
    /// Path and query as they were sent.
    public var target: String
    /// The path, percent-decoded.
    public var path: String
    public var query: QueryItems
    public var headers: HTTPHeaders
    /// The client's certificate, verified against the server's client authorities; nil when it showed none.
    public var client: ClientCertificate?
    /// The client's address without its port; empty for a Unix socket.
    public var remoteAddress: String
    public var body: HTTPRequestBody

    public init(
        method: String, target: String, path: String, query: QueryItems, headers: HTTPHeaders = HTTPHeaders(),
        client: ClientCertificate? = nil, remoteAddress: String = "", body: HTTPRequestBody = HTTPRequestBody([])
    ) {
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.headers = headers
        self.client = client
        self.remoteAddress = remoteAddress
        self.body = body
    }

    /// Reads path and query out of the target; nil when an escape in it is broken.
    public init?(
        method: String, target: String, headers: HTTPHeaders = HTTPHeaders(), client: ClientCertificate? = nil,
        remoteAddress: String = "", body: HTTPRequestBody = HTTPRequestBody([])
    ) {
        guard let split = Self.split(target) else { return nil }
        self.init(
            method: method, target: target, path: split.path, query: split.query, headers: headers, client: client,
            remoteAddress: remoteAddress, body: body)
    }

    /// Path and query of a target; the absolute form that proxies send is understood.
    static func split(_ target: String) -> (path: String, query: QueryItems)? {
        var text = Substring(target)
        if let scheme = ["http://", "https://"].first(where: { text.hasPrefix($0) }) {
            let rest = text.dropFirst(scheme.count)
            text = rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
        }
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let path = parts.first.flatMap({ PercentCoding.decoded($0) }), !path.utf8.contains(0),
            let query = QueryItems(parsing: parts.count == 2 ? parts[1] : "")
        else { return nil }
        return (path, query)
    }
}

/// Who a client is by its certificate.
public struct ClientCertificate: Sendable, Hashable {
    public var commonName: String
    public var organizations: [String]
    public var der: [UInt8]

    public init(commonName: String, organizations: [String], der: [UInt8] = []) {
        self.commonName = commonName
        self.organizations = organizations
        self.der = der
    }

    /// Nil when the certificate cannot be read.
    init?(der: [UInt8]) {
        guard let summary = try? CertificateSummary(der: der) else { return nil }
        self.init(commonName: summary.commonName, organizations: summary.organizations, der: der)
    }
}
