// SPDX-License-Identifier: Apache-2.0

import CSchemas
import Synchronization
import Values

/// The OpenAPI documents by which kubectl validates, patches and explains. Made when first asked for, then kept.
public final class OpenAPI: Sendable {
    public static let shared = OpenAPI(.shared)

    /// The Content-Type of the version 2 document in protobuf; clients refuse the spelling they ask with.
    public static let v2ProtobufContentType = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

    /// The Content-Type of the version 3 documents in protobuf.
    public static let v3ProtobufContentType = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"

    /// A document and the hash that names its content, for ETag and the index.
    public struct Document: Sendable {
        public let bytes: [UInt8]
        public let hash: String
    }

    private let registry: ResourceRegistry
    private let kept = Mutex<[String: Document]>([:])
    private let making = Mutex(())

    public init(_ registry: ResourceRegistry) { self.registry = registry }

    private func document(_ name: String, _ make: () -> [UInt8]) -> Document {
        if let found = kept.withLock({ $0[name] }) { return found }
        // Whoever asks meanwhile waits: making a document takes a moment, and is not to be done by many at once.
        return making.withLock { _ in
            if let found = kept.withLock({ $0[name] }) { return found }
            let bytes = make()
            let document = Document(bytes: bytes, hash: Self.hash(bytes))
            kept.withLock { $0[name] = document }
            return document
        }
    }

    /// Two different 64-bit sums: enough to tell versions of a document apart.
    private static func hash(_ bytes: some Sequence<UInt8>) -> String {
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
        return Self.hash(Array("\(path) \(Self.contentHash) \(defined)".utf8))
    }

    /// Stands for what the program itself brings to the documents: clients keep them by this for ever. `form` is to be
    /// counted up when documents are put together in another way.
    private static let contentHash: String = {
        let form = 2
        let data = [catbird_resources(), catbird_types(), catbird_calico(), catbird_descriptions()]
        return "\(form)" + data.map { hash(UnsafeRawBufferPointer(start: $0.bytes, count: $0.length)) }.joined()
    }()

    private static func path(_ group: String, _ version: String) -> String {
        group.isEmpty ? "api/\(version)" : "apis/\(group)/\(version)"
    }

    /// `GET /openapi/v3/PATH` in JSON; nil for a path that is not in the index.
    public func v3(_ path: String) -> Document? {
        guard let types = types(at: path) else { return nil }
        let made = document("v3/\(path)") { v3Document(types).serialized() }
        return Document(bytes: made.bytes, hash: v3Hash(path))
    }

    /// `GET /openapi/v3/PATH` in gnostic's protobuf; nil for a path that is not in the index.
    public func v3Protobuf(_ path: String) -> Document? {
        guard let types = types(at: path) else { return nil }
        let made = document("v3.pb/\(path)") { GnosticWriter3.document(v3Document(types)) }
        return Document(bytes: made.bytes, hash: v3Hash(path))
    }

    private func types(at path: String) -> [ResourceType]? {
        let steps = path.split(separator: "/").map(String.init)
        let (group, version): (String, String)
        switch (steps.first, steps.count) {
        case ("api", 2): (group, version) = ("", steps[1])
        case ("apis", 3): (group, version) = (steps[1], steps[2])
        default: return nil
        }
        let types = registry.resources(group: group, version: version)
        return types.isEmpty ? nil : types
    }

    private func v3Document(_ types: [ResourceType]) -> JSON {
        let schemas = OpenAPISchemas(registry: registry, prefix: "#/components/schemas/")
        let components = schemas.closure(of: roots(types))
        return [
            "openapi": "3.0.0", "info": ["title": "Kubernetes", "version": "unversioned"],
            "paths": .object(JSONObject(types.flatMap { OpenAPIPaths(registry: registry, type: $0).version3() })),
            "components": ["schemas": .object(JSONObject(components))],
        ]
    }

    private func roots(_ types: [ResourceType]) -> [String] {
        types.flatMap { [$0.typeName, $0.typeName + "List"] }
            + types.flatMap { type in type.subresources.compactMap { registry.typeName(ofKind: $0.kind) } }
            + ["DeleteOptions", "Patch", "Status"].map { "io.k8s.apimachinery.pkg.apis.meta.v1.\($0)" }
    }

    // MARK: Version 2

    /// `GET /openapi/v2` in JSON: what the program carries, which is written once, and what users define.
    public func v2() -> Document {
        // Made before the lock is taken, which is the same one where the program's own document is asked for.
        let own = Self.shared.v2Members()
        return document("v2") {
            let more: JSON? = added.isEmpty ? Optional.none : v2Document(added, isPart: true)
            var bytes = Array(#"{"swagger":"2.0","info":{"title":"Kubernetes","version":"unversioned"}"#.utf8)
            for (name, members) in zip(["paths", "definitions"], own) {
                bytes += ",\"\(name)\":{".utf8
                bytes += members
                if let added = more.map({ Self.members($0[name]) }), !added.isEmpty { bytes += ",".utf8 + added }
                bytes.append(UInt8(ascii: "}"))
            }
            bytes.append(UInt8(ascii: "}"))
            return bytes
        }
    }

    /// The members of paths and of definitions of what the program carries.
    private func v2Members() -> [ArraySlice<UInt8>] {
        // A line for each: JSON as it is written here has no line ends of its own.
        document("v2.members") {
            let document = v2Document(registry.resources)
            return Self.members(document["paths"]) + [0x0A] + Self.members(document["definitions"])
        }.bytes.split(separator: 0x0A)
    }

    /// An object's text without its braces.
    private static func members(_ object: JSON?) -> [UInt8] {
        Array((object ?? .object([:])).serialized().dropFirst().dropLast())
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
        let definitions =
            isPart
            ? types.flatMap { [$0.typeName, $0.typeName + "List"] }.sorted()
                .compactMap { name in schemas.definition(name).map { (name, $0) } }
            : schemas.closure(of: roots(types))
        var document: JSON = [
            "paths": .object(JSONObject(types.flatMap { OpenAPIPaths(registry: registry, type: $0).version2() })),
            "definitions": .object(JSONObject(definitions)),
        ]
        if !isPart {
            document["swagger"] = "2.0"
            document["info"] = ["title": "Kubernetes", "version": "unversioned"]
        }
        return document
    }
}
