// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Serves what clients read before anything else: which resources there are, and what their objects look like.
struct DiscoveryDocuments: Sendable {
    let discovery: Discovery
    let openAPI: OpenAPI
    /// Host and port, as clients reach the server.
    let serverAddress: String

    // MARK: Discovery

    /// `/api`, `/apis` and below; nil for what is not served.
    func discovery(_ request: IncomingRequest, _ parts: [String]) -> Reply? {
        let isCore = parts[0] == "api"
        switch (isCore, parts.count) {
        case (_, 1):
            for media in MediaType.list(request.header("accept"))
            where media.type == "application/json" && media.parameters["as"] == "APIGroupDiscoveryList" {
                guard let version = media.parameters["v"].flatMap(Discovery.Aggregated.init) else { continue }
                return tagged(
                    request, discovery.aggregated(core: isCore, as: version).serialized(),
                    contentType: version.contentType)
            }
            return .json(isCore ? discovery.coreVersions(serverAddress: serverAddress) : discovery.groupList())
        case (true, 2): return discovery.resourceList(group: "", version: parts[1]).map { .json($0) }
        case (false, 2): return discovery.group(named: parts[1]).map { .json($0) }
        case (false, 3): return discovery.resourceList(group: parts[1], version: parts[2]).map { .json($0) }
        default: return nil
        }
    }

    // MARK: OpenAPI

    func openAPI(_ request: IncomingRequest, _ parts: [String]) -> Reply? {
        switch parts.dropFirst().first {
        case "v2" where parts.count == 2:
            // kubectl asks for protobuf and cannot read JSON here; everybody else gets JSON.
            if MediaType.list(request.header("accept")).contains(where: {
                $0.type.hasPrefix("application/com.github.proto-openapi.spec.v2")
            }) {
                let document = openAPI.v2Protobuf()
                return tagged(
                    request, document.bytes, contentType: OpenAPI.v2ProtobufContentType, hash: document.hash)
            }
            let document = openAPI.v2()
            return tagged(request, document.bytes, contentType: "application/json", hash: document.hash)
        case "v3" where parts.count == 2:
            let document = openAPI.v3Index()
            return tagged(request, document.bytes, contentType: "application/json", hash: document.hash)
        case "v3": return openAPIGroup(request, parts.dropFirst(2).joined(separator: "/"))
        default: return nil
        }
    }

    private func openAPIGroup(_ request: IncomingRequest, _ path: String) -> Reply? {
        let wantsProtobuf =
            MediaType.list(request.header("accept")).first {
                ["application/json", "*/*", "application/*"].contains($0.type)
                    || $0.type.hasPrefix("application/com.github.proto-openapi.spec.v3")
            }?.type.hasPrefix("application/com.") ?? false
        guard let document = wantsProtobuf ? openAPI.v3Protobuf(path) : openAPI.v3(path) else { return nil }
        let contentType = wantsProtobuf ? OpenAPI.v3ProtobufContentType : "application/json"
        // Two forms of a document are two documents to a cache.
        let tag = document.hash + (wantsProtobuf ? "-protobuf" : "")
        var reply = tagged(request, document.bytes, contentType: contentType, hash: tag)
        guard let asked = request.query("hash"), !asked.isEmpty else { return reply }
        guard asked == document.hash else {
            return Reply(
                status: 301, headers: [("Location", "/openapi/v3/\(path)?hash=\(document.hash)")], body: .bytes([]))
        }
        // The hash is part of the address: what it names never changes.
        reply.headers += [("Cache-Control", "public, immutable"), ("Expires", "Fri, 31 Dec 2100 23:59:59 GMT")]
        return reply
    }

    /// An answer with a tag, and no body for a client that has it already.
    private func tagged(
        _ request: IncomingRequest, _ bytes: [UInt8], contentType: String, hash: String? = nil
    ) -> Reply {
        let tag = "\"\(hash ?? Hashing.text(bytes))\""
        let headers = [("Content-Type", contentType), ("ETag", tag), ("Vary", "Accept")]
        let known = (request.header("if-none-match") ?? "").split(separator: ",").map { $0.trimmingSpaces() }
        if known.contains(tag) || known == ["*"] { return Reply(status: 304, headers: headers, body: .bytes([])) }
        return Reply(headers: headers, body: .bytes(bytes))
    }
}
