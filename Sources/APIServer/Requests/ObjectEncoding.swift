// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values
import YAMLCoding

/// Writes objects in the version and the form that a client asks for.
struct ObjectEncoding: Sendable {
    let type: ResourceType
    let form: OutputForm
    let header: ObjectHeader
    let yaml: Bool

    init(_ type: ResourceType, _ negotiated: Negotiated) {
        self.type = type
        form = negotiated.form
        yaml = negotiated.yaml
        header = ObjectHeader(apiVersion: type.apiVersion, kind: type.kind)
    }

    init(_ context: RequestContext) throws(StatusError) {
        guard let negotiated = Negotiated(context.request) else {
            throw .notAcceptable(
                "only the following media types are accepted: application/json, application/yaml, "
                    + "application/json;as=Table;v=v1;g=meta.k8s.io, "
                    + "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
        }
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

    // MARK: Replies

    func reply(_ stored: StoredObject, status: Int = 200) -> Reply {
        switch form {
        case .object: finish(bytes(stored), status)
        default: reply(object(stored), status: status)
        }
    }

    func reply(_ object: KubeObject, status: Int = 200) -> Reply {
        switch form {
        case .object: finish(object.json.serialized(), status)
        case .partialMetadata: finish(TableRenderer.partialMetadata(object).serialized(), status)
        case .table:
            finish(table([object], metadata: ["resourceVersion": JSON(object.resourceVersion)]).serialized(), status)
        }
    }

    func list(
        _ objects: [StoredObject], revision: Int64, continueToken: String?, remaining: Int?
    ) -> Reply {
        var metadata: JSON = ["resourceVersion": JSON(String(revision))]
        if let continueToken { metadata["continue"] = JSON(continueToken) }
        if let remaining { metadata["remainingItemCount"] = JSON(remaining) }
        switch form {
        case .object:
            let list = encoded(objects, metadata)
            // Under the bound one write is cheaper; YAML is made of the whole.
            guard !yaml, objects.reduce(0, { $0 + $1.value.count }) >= EncodedList.streamedFrom else {
                return finish(list.bytes(), 200)
            }
            return Reply(headers: [("Content-Type", "application/json")], body: .list(list))
        case .partialMetadata:
            let list = TableRenderer.partialMetadataList(objects.map { object($0) }, listMetadata: metadata)
            return finish(list.serialized(), 200)
        case .table: return finish(table(objects.map { object($0) }, metadata: metadata).serialized(), 200)
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
        return EncodedList(head: head, objects: objects, header: isStored ? header : nil) { object, bytes in
            append(object, to: &bytes)
        }
    }

    /// The Table of Kubernetes' printers.
    func table(_ objects: [KubeObject], metadata: JSON, withColumns: Bool = true) -> JSON {
        guard case .table(let version, let includeObject) = form else { return .null }
        return TableRenderer(type).table(
            objects, include: TableRenderer.IncludedObject(rawValue: includeObject) ?? .metadata,
            listMetadata: metadata, withColumns: withColumns, version: version)
    }

    func finish(_ bytes: [UInt8], _ status: Int) -> Reply {
        guard yaml, let value = try? JSON(parsing: bytes) else { return .json(bytes, status: status) }
        return Reply(
            status: status, headers: [("Content-Type", "application/yaml")], body: .bytes(Array(YAML.text(value).utf8)))
    }
}
