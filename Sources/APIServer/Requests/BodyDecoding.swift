// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values
import YAMLCoding

/// An object as a client sent it.
struct DecodedBody: Sendable {
    var object: KubeObject
    /// Paths of keys that stood twice.
    var duplicates: [String]
}

/// Reads the bodies of requests: JSON, YAML and Kubernetes' protobuf.
enum BodyDecoding {
    static let limit = 3 << 20
    /// How deep a body may be nested: less than what can be read, because objects stand within lists and events.
    static let depth = JSON.maximumDepth - 16
    static let protobufType = "application/vnd.kubernetes.protobuf"

    /// A body without a Content-Type is JSON: some requests of kubectl have none.
    static func mediaType(_ request: IncomingRequest) -> String {
        guard let header = request.header("content-type"), !header.isEmpty else { return "application/json" }
        return MediaType(header).type
    }

    static func bytes(_ request: IncomingRequest) async throws -> [UInt8] {
        do {
            return try await request.loadBody(limit)
        } catch is RequestBodyTooLarge {
            throw StatusError.tooLarge("Request entity too large: limit is \(limit)")
        }
    }

    /// An object; nil when the body is empty.
    static func object(_ request: IncomingRequest) async throws -> DecodedBody? {
        let bytes = try await bytes(request)
        if bytes.isEmpty { return nil }
        return try decode(bytes, mediaType(request))
    }

    static func requiredObject(_ request: IncomingRequest) async throws -> DecodedBody {
        // What cannot be read is not asked for: the client may be waiting for leave to send it.
        guard isReadable(mediaType(request)) else { throw unsupported }
        guard let body = try await object(request) else { throw StatusError.badRequest("the request has no body") }
        return body
    }

    /// The object that is sent to a resource. Custom resources have no protobuf.
    static func requiredObject(_ context: RequestContext) async throws -> DecodedBody {
        if context.type.isCustom, mediaType(context.request) == protobufType {
            throw StatusError.unsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: "
                    + "application/json, application/yaml")
        }
        return try await requiredObject(context.request)
    }

    static func decode(_ bytes: [UInt8], _ mediaType: String) throws(StatusError) -> DecodedBody {
        switch mediaType {
        case "application/json", "text/json":
            var duplicates: [String] = []
            let value = try json(bytes) { if !duplicates.contains($0) { duplicates.append($0) } }
            return DecodedBody(object: try requireObject(value), duplicates: duplicates)
        case "application/yaml", "text/yaml", "application/x-yaml":
            return DecodedBody(object: try requireObject(try yaml(bytes)), duplicates: [])
        case protobufType:
            do {
                return DecodedBody(object: try Protobuf.decode(bytes), duplicates: [])
            } catch {
                throw .badRequest("the protobuf body of the request cannot be decoded: \(error)")
            }
        default: throw unsupported
        }
    }

    private static func isReadable(_ mediaType: String) -> Bool {
        [
            "application/json", "text/json", "application/yaml", "text/yaml", "application/x-yaml", protobufType,
        ].contains(mediaType)
    }

    private static let unsupported = StatusError.unsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
            + "application/json, application/yaml, \(protobufType)")

    static func json(_ bytes: [UInt8], onDuplicate: ((String) -> Void)? = nil) throws(StatusError) -> JSON {
        do {
            return try JSON(parsing: bytes, depth: depth, onDuplicate: onDuplicate)
        } catch {
            throw .badRequest("the body of the request is not valid JSON: \(error)")
        }
    }

    static func yaml(_ bytes: [UInt8]) throws(StatusError) -> JSON {
        do {
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw StatusError.badRequest("the body of the request is not valid YAML: it is not UTF-8")
            }
            let value = try YAML.document(text)
            guard value.depth <= depth else {
                throw StatusError.badRequest("the body of the request is nested deeper than \(depth) levels")
            }
            return value
        } catch let error as StatusError {
            throw error
        } catch {
            throw .badRequest("the body of the request is not valid YAML: \(error)")
        }
    }

    private static func requireObject(_ value: JSON) throws(StatusError) -> KubeObject {
        guard value.object != nil else {
            throw .badRequest("the body of the request must be an object, not \(value.typeName)")
        }
        return KubeObject(value)
    }
}
