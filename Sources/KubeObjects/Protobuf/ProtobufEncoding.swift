// SPDX-License-Identifier: Apache-2.0

import Synchronization
public import Values

/// Writes objects of one kind in Kubernetes' protobuf encoding.
///
/// The object itself ("raw") does not name its kind: the envelope around it does, or the list that it stands in.
public struct ProtobufEncoding: Sendable {
    /// The name of the message that objects of the kind are.
    public let message: String
    private let plan: MessagePlan

    private init?(message: String) {
        self.message = message
        guard let plan = Self.plan(message) else { return nil }
        self.plan = plan
    }

    /// Nil for kinds without a message: custom resources, and Table.
    public init?(_ kind: GroupVersionKind, registry: ResourceRegistry = .shared) {
        guard let name = Protobuf.messageName(kind, registry) else { return nil }
        self.init(message: name)
    }

    private static let plans = Mutex<[String: MessagePlan]>([:])

    private static func plan(_ message: String) -> MessagePlan? {
        if let plan = plans.withLock({ $0[message] }) { return plan }
        guard let plan = MessagePlan(message, Protobuf.messages) else { return nil }
        plans.withLock { $0[message] = plan }
        return plan
    }

    /// The fields of an object, or of any JSON that the message is the encoding of.
    public func raw(_ json: JSON) -> [UInt8] {
        var encoder = MessageEncoder(plan)
        encoder.encode(json)
        return encoder.bytes
    }
}

extension Protobuf {
    /// The object in its envelope; nil for kinds without a message.
    public static func encode(_ json: JSON, registry: ResourceRegistry = .shared) -> [UInt8]? {
        let object = KubeObject(json)
        return ProtobufEncoding(object.groupVersionKind, registry: registry).map {
            enveloped($0.raw(json), apiVersion: object.apiVersion, kind: object.kind)
        }
    }

    /// `runtime.Unknown`: version and kind, then the object. The two fields after it are empty, and are written all the
    /// same, as Go does.
    public static func enveloped(_ raw: [UInt8], _ kind: GroupVersionKind) -> [UInt8] {
        enveloped(raw, apiVersion: kind.apiVersion, kind: kind.kind)
    }

    private static func enveloped(_ raw: [UInt8], apiVersion: String, kind: String) -> [UInt8] {
        var bytes = envelopeHead(apiVersion: apiVersion, kind: kind, size: raw.count)
        bytes.reserveCapacity(bytes.count + raw.count + envelopeTail.count)
        bytes += raw
        bytes += envelopeTail
        return bytes
    }

    /// What stands before an object of `size` bytes in its envelope.
    private static func envelopeHead(apiVersion: String, kind: String, size: Int) -> [UInt8] {
        var type: [UInt8] = []
        append(Array(apiVersion.utf8), field: 1, to: &type)
        append(Array(kind.utf8), field: 2, to: &type)
        var bytes = magic
        append(type, field: 1, to: &bytes)
        appendLength(size, field: 2, to: &bytes)
        return bytes
    }

    private static let envelopeTail: [UInt8] = {
        var bytes: [UInt8] = []
        append([], field: 3, to: &bytes)
        append([], field: 4, to: &bytes)
        return bytes
    }()

    /// A list in its envelope, as what stands before and behind its items: messages of these sizes, each written by
    /// ``appendItem(_:to:)``.
    public static func list(
        _ kind: GroupVersionKind, metadata: JSON, itemSizes: some Sequence<Int>
    ) -> (head: [UInt8], tail: [UInt8]) {
        var begin: [UInt8] = []
        append(listMetadata?.raw(metadata) ?? [], field: 1, to: &begin)
        var size = begin.count
        for item in itemSizes { size += item + 1 + varintSize(item) }
        return (envelopeHead(apiVersion: kind.apiVersion, kind: kind.kind, size: size) + begin, envelopeTail)
    }

    /// Writes an item of a list.
    public static func appendItem(_ message: [UInt8], to bytes: inout [UInt8]) { append(message, field: 2, to: &bytes) }

    /// How many bytes a length takes (base 128).
    private static func varintSize(_ value: Int) -> Int {
        max(1, (Int.bitWidth - value.leadingZeroBitCount + 6) / 7)
    }

    private static let listMetadata = ProtobufEncoding(GroupVersionKind("meta.k8s.io", "v1", "ListMeta"))

    /// A frame of a watch: four bytes of length in network order, then `WatchEvent` with the object in its envelope.
    ///
    /// Source: k8s.io/apimachinery, `serializer/protobuf`, whose stream is length-delimited and whose outer message has
    /// no envelope.
    public static func watchFrame(_ type: String, _ enveloped: [UInt8]) -> [UInt8] {
        var event: [UInt8] = []
        event.reserveCapacity(enveloped.count + 32)
        append(Array(type.utf8), field: 1, to: &event)
        var holder: [UInt8] = []
        append(enveloped, field: 1, to: &holder)
        append(holder, field: 2, to: &event)
        var frame: [UInt8] = []
        frame.reserveCapacity(event.count + 4)
        frame.appendBigEndian(UInt32(clamping: event.count))
        frame += event
        return frame
    }

    private static func append(_ value: [UInt8], field: UInt64, to bytes: inout [UInt8]) {
        appendLength(value.count, field: field, to: &bytes)
        bytes.append(contentsOf: value)
    }

    private static func appendLength(_ count: Int, field: UInt64, to bytes: inout [UInt8]) {
        bytes.appendVarint(field << 3 | 2)
        bytes.appendVarint(UInt64(count))
    }
}
