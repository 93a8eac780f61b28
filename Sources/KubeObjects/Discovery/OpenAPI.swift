// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Values

/// The OpenAPI documents by which kubectl validates, patches and explains. Made when first asked for, then kept.
public final class OpenAPI: Sendable {
    public static let shared = OpenAPI(.shared)

    /// The Content-Type of the version 2 document in protobuf; clients refuse the spelling they ask with.
    public static let v2ProtobufContentType = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

    /// A document and the hash that names its content, for ETag and the index.
    public struct Document: Sendable {
        public let bytes: [UInt8]
        public let hash: String
    }

    private let registry: ResourceRegistry
    private let kept = Mutex<[String: Document]>([:])

    public init(_ registry: ResourceRegistry) { self.registry = registry }

    private func document(_ name: String, _ make: () -> [UInt8]) -> Document {
        if let found = kept.withLock({ $0[name] }) { return found }
        let bytes = make()
        let document = Document(bytes: bytes, hash: Self.hash(bytes))
        kept.withLock { $0[name] = document }
        return document
    }

    /// Two different 64-bit sums: enough to tell versions of a document apart.
    private static func hash(_ bytes: [UInt8]) -> String {
        var first: UInt64 = 0xcbf2_9ce4_8422_2325
        var second: UInt64 = 0x9e37_79b9_7f4a_7c15
        for byte in bytes {
            first = (first ^ UInt64(byte)) &* 0x100_0000_01b3
            second = (second &+ UInt64(byte)) &* 0xff51_afd7_ed55_8ccd
        }
        return Hex.text(
            [first, second].flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64($0 * 8)) } }
        )
        .uppercased()
    }

    // MARK: Version 3

    /// The documents of version 3: `api/v1`, `apis/apps/v1` and so on.
    public var v3Paths: [String] {
        registry.groups.flatMap { group in
            group.versions.map { Self.path(group.name, $0) }
        }
    }

    /// `GET /openapi/v3`. The hashes stand for the data of this program, so that the index costs no documents.
    public func v3Index() -> Document {
        document("v3") {
            let paths = v3Paths.map { path in
                (path, JSON.object(["serverRelativeURL": JSON("/openapi/v3/\(path)?hash=\(v3Hash(path))")]))
            }
            return JSON.object(["paths": .object(JSONObject(paths))]).serialized()
        }
    }

    /// The hash that the index names for a document.
    public func v3Hash(_ path: String) -> String {
        // Of what users define, the revision of the definition stands for its content.
        let defined = registry.addedTypes.filter { Self.path($0.group, $0.version) == path }
            .map { "\($0.typeName) \($0.custom?.definedAt ?? 0)" }.sorted().joined(separator: " ")
        let own = ResourceRegistry.shared.resources.count
        return Self.hash(Array("\(path) \(registry.typeNames.count) \(own) \(defined)".utf8))
    }

    private static func path(_ group: String, _ version: String) -> String {
        group.isEmpty ? "api/\(version)" : "apis/\(group)/\(version)"
    }

    /// `GET /openapi/v3/PATH` in JSON; nil for a path that is not in the index.
    public func v3(_ path: String) -> Document? {
        let steps = path.split(separator: "/").map(String.init)
        let (group, version): (String, String)
        switch (steps.first, steps.count) {
        case ("api", 2): (group, version) = ("", steps[1])
        case ("apis", 3): (group, version) = (steps[1], steps[2])
        default: return nil
        }
        let types = registry.resources(group: group, version: version)
        guard !types.isEmpty else { return nil }
        let made = document("v3/\(path)") {
            let schemas = OpenAPISchemas(registry: registry, prefix: "#/components/schemas/")
            let names = schemas.closure(of: roots(types))
            let components = names.compactMap { name in schemas.definition(name).map { (name, $0) } }
            let document: JSON = [
                "openapi": "3.0.0", "info": ["title": "Kubernetes", "version": "unversioned"],
                "paths": .object(JSONObject(types.flatMap { OpenAPIPaths.v3($0) })),
                "components": ["schemas": .object(JSONObject(components))],
            ]
            return document.serialized()
        }
        return Document(bytes: made.bytes, hash: v3Hash(path))
    }

    private func roots(_ types: [ResourceType]) -> [String] {
        types.map(\.typeName)
            + types.flatMap { type in
                type.subresources.compactMap { sub in
                    registry.resource(forKind: sub.kind)?.typeName ?? ResourceRegistry.otherKinds[sub.kind]
                }
            } + ["DeleteOptions", "Patch", "Status"].map { "io.k8s.apimachinery.pkg.apis.meta.v1.\($0)" }
    }

    // MARK: Version 2

    /// `GET /openapi/v2` in JSON.
    public func v2() -> Document {
        document("v2") { v2Document(registry.resources).serialized() }
    }

    /// `GET /openapi/v2` in gnostic's protobuf, which is what kubectl reads.
    ///
    /// A message that is followed by another of its type is both in one (Protocol Buffers, "Last One Wins"): what users
    /// define is appended to what the program carries, which is written once.
    public func v2Protobuf() -> Document {
        document("v2.pb") {
            guard !registry.addedTypes.isEmpty else { return GnosticWriter.document(v2Document(registry.resources)) }
            return Self.shared.v2Protobuf().bytes + GnosticWriter.document(v2Document(added, isPart: true))
        }
    }

    private var added: [ResourceType] { registry.resources.filter { $0.custom != nil } }

    /// - Parameter isPart: only what the types themselves say, without the types that they share with others.
    private func v2Document(_ types: [ResourceType], isPart: Bool = false) -> JSON {
        let schemas = OpenAPISchemas(registry: registry, prefix: "#/definitions/")
        let names = isPart ? types.map(\.typeName).sorted() : schemas.closure(of: roots(types))
        let definitions = names.compactMap { name in schemas.definition(name).map { (name, $0) } }
        var document: JSON = [
            "paths": .object(JSONObject(types.flatMap { OpenAPIPaths.v2($0) })),
            "definitions": .object(JSONObject(definitions)),
        ]
        if !isPart {
            document["swagger"] = "2.0"
            document["info"] = ["title": "Kubernetes", "version": "unversioned"]
        }
        return document
    }
}
