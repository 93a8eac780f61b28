// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
import NIOCore
import NIOHTTP1
import Values

/// The `proxy` subresources of pods, services and nodes: requests are passed on, and their answers, piece by piece.
extension APIServer {
    private static let proxiedMethods: Set<String> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    func proxy(_ context: RequestContext) async throws -> Reply {
        let request = context.request
        guard Self.proxiedMethods.contains(request.method) else {
            throw StatusError.methodNotAllowed(context.resource, verb: request.method.lowercased())
        }
        let target = try proxyTarget(context)
        let route = try proxyRoute(target)
        let path = Self.proxiedPath(context)
        let query = request.rawQuery.isEmpty ? "" : "?\(request.rawQuery)"
        let upgrades = request.asksForUpgrade
        if path.isEmpty, !upgrades, request.method == "GET" || request.method == "HEAD" {
            // Without the slash at its end, relative links on the page would lead elsewhere.
            return Reply(
                status: 301, headers: [("Location", "\(Self.escaped(request.path))/\(query)")], body: .bytes([]))
        }
        let links = ProxyLinks(
            backend: target.authority, requested: request.header("host") ?? "", prefix: Self.proxyPrefix(context))
        let body = upgrades || !request.announcesBody ? nil : request.body
        body?.keep()
        let outgoing = HTTPExchange.Request(
            host: route, port: target.effectivePort, tls: target.tls, method: request.method,
            target: "\(path.isEmpty ? "/" : Self.escaped(path))\(query)",
            headers: ProxyHeaders.request(
                request, upgrades: upgrades, hasBody: body != nil,
                forwardedURI: links.prefix + Self.escaped(path)),
            body: body)
        let exchange: HTTPExchange
        do throws(HTTPExchangeError) {
            exchange = try await HTTPExchange.start(outgoing)
        } catch {
            if error.kind == .cancelled { throw CancellationError() }
            if upgrades { throw StatusError.internalError("error dialing backend: \(error)") }
            throw StatusError.serviceUnavailable("error trying to reach service: \(error)")
        }
        return upgrades ? try await upgraded(exchange) : try await answer(exchange, links, request)
    }

    /// What follows `proxy` in the path, decoded; empty when nothing does, not even a slash.
    private static func proxiedPath(_ context: RequestContext) -> String {
        var parts: [String] = []
        for part in context.info.remainder where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        let endsWithSlash = context.request.path.hasSuffix("/")
        if parts.isEmpty { return endsWithSlash ? "/" : "" }
        return "/" + parts.joined(separator: "/") + (endsWithSlash ? "/" : "")
    }

    /// The path up to `proxy`.
    private static func proxyPrefix(_ context: RequestContext) -> String {
        let parts = context.request.path.split(separator: "/")
        return "/" + parts.dropLast(context.info.remainder.count).joined(separator: "/")
    }

    /// Escapes what may not stand in a path (RFC 3986, section 3.3).
    private static func escaped(_ path: String) -> String { PercentCoding.encoded(path, allowing: "/$&+,:;=@!'()*") }

    // MARK: Answers

    /// The raw connection, when the backend agrees; its refusal otherwise.
    private func upgraded(_ exchange: HTTPExchange) async throws -> Reply {
        if let backend = exchange.connection {
            return Reply(
                status: exchange.status, headers: ProxyHeaders.response(exchange.headers, upgrades: true),
                body: .upgrade { client in await UpgradedConnection.splice(client, backend) })
        }
        guard exchange.status >= 400 else {
            await exchange.close()
            throw StatusError.internalError("invalid upgrade response: status code \(exchange.status)")
        }
        return passed(exchange, ProxyHeaders.response(exchange.headers))
    }

    private func answer(
        _ exchange: HTTPExchange, _ links: ProxyLinks, _ request: IncomingRequest
    ) async throws -> Reply {
        var headers = ProxyHeaders.response(exchange.headers)
        if let index = headers.firstIndex(where: { $0.name.lowercased() == "location" }) {
            headers[index].value = links.rewritten(headers[index].value)
            return await finished(exchange, headers, request)
        }
        let type = exchange.headers.first(name: "content-type").map { MediaType($0).type }
        let encoding = exchange.headers.first(name: "content-encoding")?.lowercased() ?? ""
        guard type == "text/html", encoding.isEmpty || encoding == "gzip", request.method != "HEAD" else {
            return await finished(exchange, headers, request)
        }
        // The length changes, and what was packed goes on unpacked.
        headers.removeAll { ["content-length", "content-encoding"].contains($0.name.lowercased()) }
        return Reply(
            status: exchange.status, headers: headers,
            body: .stream { sink in
                try await Self.rewriting(exchange, links, isPacked: encoding == "gzip") { try await sink.write($0) }
                await exchange.close()
            })
    }

    /// The answer as it is. Some have no body, whatever their headers say.
    private func finished(
        _ exchange: HTTPExchange, _ headers: [(name: String, value: String)], _ request: IncomingRequest
    ) async -> Reply {
        guard request.method == "HEAD" || exchange.status == 204 || exchange.status == 304 else {
            return passed(exchange, headers)
        }
        await exchange.close()
        return Reply(status: exchange.status, headers: headers, body: .bytes([]))
    }

    private func passed(_ exchange: HTTPExchange, _ headers: [(name: String, value: String)]) -> Reply {
        Reply(
            status: exchange.status, headers: headers,
            body: .stream { sink in
                while let piece = try await exchange.next() { try await sink.write(Array(piece.readableBytesView)) }
                await exchange.close()
            })
    }

    private static func rewriting(
        _ exchange: HTTPExchange, _ links: ProxyLinks, isPacked: Bool, _ write: ([UInt8]) async throws -> Void
    ) async throws {
        var page = HTMLLinkRewriter(links.rewritten)
        let gunzip = isPacked ? try Gunzip() : nil
        while let piece = try await exchange.next() {
            let bytes = Array(piece.readableBytesView)
            guard let gunzip else {
                try await write(page.feed(bytes))
                continue
            }
            try await gunzip.feed(bytes) { try await write(page.feed($0)) }
        }
        try await write(page.finish())
    }
}

extension IncomingRequest {
    /// Whether a body follows the head (RFC 9112, section 6.3).
    fileprivate var announcesBody: Bool {
        if header("transfer-encoding") != nil { return true }
        if case .inProcess = origin { return true }
        return header("content-length").map { $0.trimmingSpaces() != "0" } ?? false
    }
}
