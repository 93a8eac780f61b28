// SPDX-License-Identifier: Apache-2.0

import Values

/// Why bytes are not an object in Kubernetes' protobuf encoding.
public struct ProtobufError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// Reads request bodies of `application/vnd.kubernetes.protobuf` into the JSON that they stand for.
public enum Protobuf {
    /// The bytes before every encoded object.
    public static let magic: [UInt8] = [0x6B, 0x38, 0x73, 0x00]
    public static let mediaType = "application/vnd.kubernetes.protobuf"

    static let messages = MessageTable()
    private static let metaPackage = "k8s.io.apimachinery.pkg.apis.meta.v1"
    private static let metaKinds: Set = ["PartialObjectMetadata", "ListMeta"]

    /// Decodes an object in its envelope.
    ///
    /// `kind` is what the object is when the envelope does not say, or says another group for a body that is shared
    /// by all of them (DeleteOptions).
    public static func decode(
        _ bytes: [UInt8], as expected: GroupVersionKind? = nil, registry: ResourceRegistry = .shared
    ) throws(ProtobufError) -> KubeObject {
        guard bytes.starts(with: magic) else {
            throw ProtobufError("the body does not start with the bytes 6b 38 73 00 of Kubernetes' protobuf encoding")
        }
        var envelope = WireReader(bytes[magic.count...])
        var apiVersion = ""
        var kind = ""
        var raw: ArraySlice<UInt8> = []
        while let (number, value) = try envelope.field() {
            switch (number, value) {
            case (1, .bytes(let type)):
                var reader = WireReader(type)
                while let (number, value) = try reader.field() {
                    guard case .bytes(let text) = value else { continue }
                    if number == 1 { apiVersion = try WireReader.text(text) }
                    if number == 2 { kind = try WireReader.text(text) }
                }
            case (2, .bytes(let object)): raw = object
            case (3, .bytes(let encoding)) where !encoding.isEmpty:
                throw ProtobufError("content encoding \"\(try WireReader.text(encoding))\" is not supported")
            default: break
            }
        }
        if let expected, kind.isEmpty {
            apiVersion = expected.apiVersion
            kind = expected.kind
        }
        let type = GroupVersionKind(apiVersion: apiVersion, kind: kind)
        guard let message = messageName(type, registry) else {
            throw ProtobufError("no message is known for kind \(kind) in version \"\(apiVersion)\"")
        }
        var decoder = MessageDecoder(messages)
        guard case .object(var members) = try decoder.decode(raw, as: message) else {
            throw ProtobufError("\(message) is not an object")
        }
        members["apiVersion"] = nil
        members["kind"] = nil
        let head: [JSONObject.Member] = [("apiVersion", JSON(apiVersion)), ("kind", JSON(kind))]
        return KubeObject(.object(JSONObject(head + members.members)))
    }

    static func messageName(_ kind: GroupVersionKind, _ registry: ResourceRegistry) -> String? {
        // Every group has the same DeleteOptions.
        if kind.kind == "DeleteOptions" { return "\(metaPackage).DeleteOptions" }
        if kind.group == "meta.k8s.io", kind.version == "v1", metaKinds.contains(kind.kind) {
            return "\(metaPackage).\(kind.kind)"
        }
        guard let type = registry.resource(forKind: kind)?.typeName ?? ResourceRegistry.otherKinds[kind] else {
            return nil
        }
        let name = "k8s.io." + type.dropFirst("io.k8s.".count)
        return name.split(separator: "-").joined(separator: "_")
    }
}

/// A cursor over protobuf's wire format. Every length is checked against what is left.
struct WireReader {
    enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        case bytes(ArraySlice<UInt8>)
    }

    private let bytes: ArraySlice<UInt8>
    private var offset: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        offset = bytes.startIndex
    }

    var isAtEnd: Bool { offset == bytes.endIndex }

    /// The next field; nil at the end.
    mutating func field() throws(ProtobufError) -> (number: Int, value: Value)? {
        guard !isAtEnd else { return nil }
        let key = try varint()
        guard let number = Int(exactly: key >> 3), (1...536_870_911).contains(number) else {
            throw ProtobufError("invalid protobuf: field number \(key >> 3)")
        }
        switch key & 7 {
        case 0: return (number, .varint(try varint()))
        case 1: return (number, .fixed64(try fixed(8)))
        case 2:
            let length = try varint()
            guard length <= UInt64(bytes.endIndex - offset) else {
                throw ProtobufError(
                    "invalid protobuf: a length of \(length) with \(bytes.endIndex - offset) bytes left")
            }
            let end = offset + Int(length)
            defer { offset = end }
            return (number, .bytes(bytes[offset..<end]))
        case 5: return (number, .fixed32(UInt32(truncatingIfNeeded: try fixed(4))))
        default: throw ProtobufError("invalid protobuf: wire type \(key & 7)")
        }
    }

    mutating func varint() throws(ProtobufError) -> UInt64 {
        var result: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            guard offset < bytes.endIndex, shift < 64 else { throw ProtobufError("invalid protobuf: a broken varint") }
            let byte = bytes[offset]
            offset += 1
            result |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return result }
            shift += 7
        }
    }

    private mutating func fixed(_ count: Int) throws(ProtobufError) -> UInt64 {
        guard bytes.endIndex - offset >= count else { throw ProtobufError("invalid protobuf: \(count) bytes expected") }
        var result: UInt64 = 0
        for index in (0..<count).reversed() { result = result << 8 | UInt64(bytes[offset + index]) }
        offset += count
        return result
    }

    static func text(_ bytes: ArraySlice<UInt8>) throws(ProtobufError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ProtobufError("invalid protobuf: a string is not UTF-8")
        }
        return text
    }
}
