// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values
import YAMLCoding

/// Writes objects in the version and the form that a client asks for.
struct ObjectEncoding: Sendable {
    let type: ResourceType
    let form: OutputForm
    let header: ObjectHeader
    let encoding: OutputEncoding
    /// For objects in protobuf.
    let message: ProtobufEncoding?

    private static let partialMetadata = GroupVersionKind("meta.k8s.io", "v1", "PartialObjectMetadata")

    init(_ type: ResourceType, _ negotiated: Negotiated) {
        self.type = type
        form = negotiated.form
        encoding = negotiated.encoding
        header = ObjectHeader(apiVersion: type.apiVersion, kind: type.kind)
        message =
            encoding == .protobuf
            ? ProtobufEncoding(form == .partialMetadata ? Self.partialMetadata : type.groupVersionKind) : nil
    }

    init(_ context: RequestContext, isStream: Bool = false) throws(StatusError) {
        let forms = AcceptableForms(hasProtobuf: !context.type.isCustom, isStream: isStream)
        guard let negotiated = Negotiated(context.request, forms) else { throw forms.refusal }
        self.init(context.type, negotiated)
    }

    /// The object in the version of the request.
    func object(_ stored: StoredObject) -> KubeObject {
        VersionConversion.object(stored, as: type)
    }

    /// The object's own bytes; stored bytes are passed on where the versions differ in nothing but their names.
    func bytes(_ stored: StoredObject) -> [UInt8] {
        VersionConversion.isNeeded(type, at: stored.revision)
            ? object(stored).json.serialized() : stored.encoded(header)
    }

    private func append(_ stored: StoredObject, to bytes: inout [UInt8]) {
        if VersionConversion.isNeeded(type, at: stored.revision) {
            bytes += object(stored).json.serialized()
        } else {
            stored.append(to: &bytes, header)
        }
    }

    /// The object as a message without its envelope. The stored object may keep it.
    private func raw(_ stored: StoredObject, _ message: ProtobufEncoding) -> [UInt8] {
        switch form {
        case .partialMetadata: message.raw(TableRenderer.partialMetadata(object(stored)))
        default: stored.message(message.message) { message.raw(object(stored).json) }
        }
    }

    /// The kind of what is answered, where that is an object.
    private var kind: GroupVersionKind { form == .partialMetadata ? Self.partialMetadata : type.groupVersionKind }

    /// The media type of a watch. Kubernetes names the stream in all but JSON.
    var streamType: String { encoding == .json ? encoding.rawValue : "\(encoding.rawValue);stream=watch" }

    /// What this encoding has in common with others that give an event the same bytes.
    var content: EncodedLines.Content {
        EncodedLines.Content(header: header, isPartial: form == .partialMetadata, encoding: encoding)
    }

    /// The object as it stands in the event of a watch; not for tables, which differ from watcher to watcher.
    func event(_ kind: String, _ stored: StoredObject) -> [UInt8] {
        if let message { return Protobuf.watchFrame(kind, Protobuf.enveloped(raw(stored, message), self.kind)) }
        switch form {
        case .partialMetadata:
            return WatchLine.json(kind, TableRenderer.partialMetadata(object(stored)).serialized())
        default: return WatchLine.json(kind, bytes(stored))
        }
    }

    /// An event about something that is not stored: a bookmark.
    func event(_ kind: String, of object: JSON) -> [UInt8] {
        if let message { return Protobuf.watchFrame(kind, Protobuf.enveloped(message.raw(object), self.kind)) }
        return WatchLine.json(kind, object.serialized())
    }

    // MARK: Replies

    func reply(_ stored: StoredObject, status: Int = 200) -> Reply {
        if let message { return Reply(Protobuf.enveloped(raw(stored, message), kind), .protobuf, status: status) }
        return switch form {
        case .object: finish(bytes(stored), status)
        default: reply(object(stored), status: status)
        }
    }

    func reply(_ object: KubeObject, status: Int = 200) -> Reply {
        switch form {
        case .object: answer(object.json, status: status)
        case .partialMetadata: answer(TableRenderer.partialMetadata(object), status: status)
        case .table:
            finish(table([object], metadata: ["resourceVersion": JSON(object.resourceVersion)]).serialized(), status)
        }
    }

    /// What is of another kind than the resource: a Status, a Scale, a review.
    func answer(_ json: JSON, status: Int = 200) -> Reply { Reply(json, encoding, status: status) }

    func list(
        _ objects: [StoredObject], revision: Int64, continueToken: String?, remaining: Int?
    ) -> Reply {
        var metadata: JSON = ["resourceVersion": JSON(String(revision))]
        if let continueToken { metadata["continue"] = JSON(continueToken) }
        if let remaining { metadata["remainingItemCount"] = JSON(remaining) }
        if let message { return finish(messages(objects, metadata, message)) }
        switch form {
        case .object: return finish(encoded(objects, metadata))
        case .partialMetadata:
            let list = TableRenderer.partialMetadataList(objects.map { object($0) }, listMetadata: metadata)
            return finish(list.serialized(), 200)
        case .table: return finish(table(objects.map { object($0) }, metadata: metadata).serialized(), 200)
        }
    }

    /// A list in protobuf: what the objects keep, one after the other.
    private func messages(_ objects: [StoredObject], _ metadata: JSON, _ message: ProtobufEncoding) -> EncodedList {
        // All of them before the first is sent, because the list begins with its length.
        let messages = objects.map { raw($0, message) }
        let kind = GroupVersionKind(kind.group, kind.version, kind.kind + "List")
        let (head, tail) = Protobuf.list(kind, metadata: metadata, itemSizes: messages.lazy.map(\.count))
        return EncodedList(head: head, objects: objects, tail: tail, separator: [], header: nil) { index, bytes in
            Protobuf.appendItem(messages[index], to: &bytes)
        }
    }

    private func encoded(_ objects: [StoredObject], _ metadata: JSON) -> EncodedList {
        var head: [UInt8] = []
        head += #"{"kind":"#.utf8
        head += JSON(type.listKind).serialized()
        head += #","apiVersion":"#.utf8
        head += JSON(type.apiVersion).serialized()
        head += #","metadata":"#.utf8
        head += metadata.serialized()
        head += #","items":["#.utf8
        let isStored = !objects.contains { VersionConversion.isNeeded(type, at: $0.revision) }
        return EncodedList(
            head: head, objects: objects, tail: Array("]}".utf8), separator: [UInt8(ascii: ",")],
            header: isStored ? header : nil
        ) { index, bytes in
            append(objects[index], to: &bytes)
        }
    }

    private func finish(_ list: EncodedList) -> Reply {
        // Under the bound one write is cheaper; YAML is made of the whole.
        guard encoding != .yaml, list.objects.reduce(0, { $0 + $1.value.count }) >= EncodedList.streamedFrom else {
            return encoding == .protobuf ? Reply(list.bytes(), .protobuf) : finish(list.bytes(), 200)
        }
        return Reply(headers: [("Content-Type", encoding.rawValue)], body: .list(list))
    }

    /// The Table of Kubernetes' printers.
    func table(_ objects: [KubeObject], metadata: JSON, withColumns: Bool = true) -> JSON {
        guard case .table(let version, let includeObject) = form else { return .null }
        return TableRenderer(type).table(
            objects, include: TableRenderer.IncludedObject(rawValue: includeObject) ?? .metadata,
            listMetadata: metadata, withColumns: withColumns, version: version)
    }

    /// JSON that is there already, in the encoding asked for.
    private func finish(_ bytes: [UInt8], _ status: Int) -> Reply {
        guard encoding == .yaml, let value = try? JSON(parsing: bytes) else { return .json(bytes, status: status) }
        return answer(value, status: status)
    }
}

extension Reply {
    /// An answer that is encoded already.
    init(_ bytes: [UInt8], _ encoding: OutputEncoding, status: Int = 200) {
        self.init(status: status, headers: [("Content-Type", encoding.rawValue)], body: .bytes(bytes))
    }

    /// An object in the encoding asked for; JSON for what has no message.
    init(_ json: JSON, _ encoding: OutputEncoding, status: Int = 200) {
        switch encoding {
        case .yaml: self.init(Array(YAML.text(json).utf8), .yaml, status: status)
        case .protobuf:
            guard let bytes = Protobuf.encode(json) else { fallthrough }
            self.init(bytes, .protobuf, status: status)
        case .json: self.init(json.serialized(), .json, status: status)
        }
    }
}
