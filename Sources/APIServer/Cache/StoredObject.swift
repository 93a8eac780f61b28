// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Storage
import Synchronization
import Values

/// One version of a stored object: its bytes, and what selectors need of it.
///
/// The bytes begin `{"apiVersion":…,"kind":…,"metadata":{` and hold no resourceVersion: it is the revision under which
/// they are stored, and is spliced in, with the header of the version asked for, when they are sent.
final class StoredObject: Sendable {
    /// What can be selected by, and what an object claims for itself alone.
    struct Attributes: Sendable {
        var labels: [String: String]
        var fields: [String: String]
        var claims: [String]
    }

    let key: String
    let resource: StorageKey
    let revision: Int64
    let value: [UInt8]
    private let header: Range<Int>
    private let known: Mutex<Attributes?> = Mutex(nil)
    private let packed: Mutex<(header: ObjectHeader, segment: PackedSegment)?> = Mutex(nil)
    private let encoded: Mutex<KeptMessage?> = Mutex(nil)

    init(key: String, resource: StorageKey, revision: Int64, value: [UInt8]) {
        self.key = key
        self.resource = resource
        self.revision = revision
        self.value = value
        header = 0..<Self.bodyStart(value)
    }

    /// The same bytes at another revision: an object as it was when it was deleted.
    func at(_ revision: Int64) -> StoredObject {
        StoredObject(key: key, resource: resource, revision: revision, value: value)
    }

    /// The same object with other bytes: as it was before the revision.
    func with(_ value: [UInt8]) -> StoredObject {
        StoredObject(key: key, resource: resource, revision: revision, value: value)
    }

    private static let marker = Array(#""metadata":{"#.utf8)

    /// Where the first member of the metadata begins.
    private static func bodyStart(_ value: [UInt8]) -> Int {
        var index = 0
        let last = value.count - marker.count
        while index <= last {
            if value[index] == marker[0], value[index..<index + marker.count].elementsEqual(marker) {
                return index + marker.count
            }
            index += 1
        }
        return 0
    }

    /// The bytes of an object for the store.
    static func encode(_ object: KubeObject) -> [UInt8] {
        var object = object
        var metadata = object.metadata.object ?? [:]
        metadata.removeValue(forKey: "resourceVersion")
        // Long, and read by few: behind everything else.
        let managed = metadata.removeValue(forKey: "managedFields")
        if let managed, !managed.isNull { metadata["managedFields"] = managed }
        var members: [JSONObject.Member] = [
            ("apiVersion", .string(object.apiVersion)), ("kind", .string(object.kind)), ("metadata", .object(metadata)),
        ]
        for (key, value) in object.json.object ?? [:] where !["apiVersion", "kind", "metadata"].contains(key) {
            members.append((key, value))
        }
        object.json = .object(JSONObject(members))
        return object.json.serialized()
    }

    /// What is sent: the header of the version asked for, the resource version, and the rest as it is stored.
    func encoded(_ header: ObjectHeader) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(value.count + 64)
        append(to: &bytes, header)
        return bytes
    }

    func append(to bytes: inout [UInt8], _ header: ObjectHeader) {
        bytes.append(contentsOf: header.bytes)
        bytes.append(contentsOf: #""resourceVersion":""#.utf8)
        bytes.append(contentsOf: String(revision).utf8)
        bytes.append(contentsOf: #"","#.utf8)
        bytes.append(contentsOf: value[self.header.upperBound...])
    }

    /// What the object comes to in a gzip stream. Kept for the header that was asked for last, where that saves enough
    /// to be worth the memory.
    func packed(_ header: ObjectHeader?, _ make: () -> PackedSegment) -> PackedSegment {
        guard let header else { return make() }
        if let kept = packed.withLock({ $0 }), kept.header == header { return kept.segment }
        let segment = make()
        if segment.bytes.count < value.count / 2 { packed.withLock { $0 = (header, segment) } }
        return segment
    }

    /// The object as a protobuf message, made when it is first asked for and kept while there is room for it. Of kinds
    /// that are served in two versions the one that was asked for first is kept.
    func message(_ name: String, _ make: () -> [UInt8]) -> [UInt8] {
        if let kept = encoded.withLock({ $0 }), kept.name == name { return kept.bytes }
        let bytes = make()
        if let kept = KeptMessage(name, bytes) { encoded.withLock { $0 = $0 ?? kept } }
        return bytes
    }

    /// Looks at bytes that come from a disk, where they may have been damaged: whatever reads them asks this first.
    ///
    /// - Throws: what names the key, when they are not those of an object.
    func verify() throws(StorageError) {
        let reason: String
        do {
            let json = try JSON(parsing: value)
            guard json.object == nil || header.isEmpty else { return }
            reason = "no object"
        } catch { reason = "\(error)" }
        throw .unavailable(
            "what is stored under \(key) at revision \(revision) is damaged (\(reason)); stop the cluster and start it "
                + "again: it is examined then, and the newest backup offered")
    }

    /// Parsed anew each time: callers that need it twice keep it. The bytes are an object's: they were encoded here, or
    /// verified as they came from the disk.
    func object() -> KubeObject {
        var object = KubeObject((try? JSON(parsing: value)) ?? [:])
        object.metadata["resourceVersion"] = JSON(String(revision))
        return object
    }

    var attributes: Attributes {
        if let attributes = known.withLock({ $0 }) { return attributes }
        // Nothing is selected by what is long.
        let object = KubeObject(
            (try? JSON(parsing: value) { outer, inner in
                outer == "metadata" && (inner == "annotations" || inner == "managedFields")
            }) ?? [:])
        let attributes = Attributes(
            labels: object.labels, fields: resource.selectableFields(of: object),
            claims: resource.isServices ? ServiceClaims.claims(of: object) : [])
        known.withLock { $0 = attributes }
        return attributes
    }
}

/// The first bytes of an encoded object: the version and kind under which it is sent.
struct ObjectHeader: Sendable, Hashable {
    let bytes: [UInt8]

    init(apiVersion: String, kind: String) {
        var bytes: [UInt8] = Array(#"{"apiVersion":"#.utf8)
        bytes += JSON(apiVersion).serialized()
        bytes += #","kind":"#.utf8
        bytes += JSON(kind).serialized()
        bytes += #","metadata":{"#.utf8
        self.bytes = bytes
    }
}

/// The folder of the store in which the objects of a resource are kept.
struct StorageKey: Sendable, Hashable {
    let resource: GroupVersionResource
    /// `/registry/GROUP/RESOURCE/`: versions share their objects.
    let prefix: String

    static let root = "/registry/"
    private static let services = StorageKey(.services).prefix

    /// What is stored in each folder.
    private static let types: [String: ResourceType] = Dictionary(
        ResourceRegistry.shared.resources.filter { $0.resource == $0.storage }.map {
            (StorageKey($0.storage).prefix, $0)
        },
        uniquingKeysWith: { first, _ in first })

    init(_ resource: GroupVersionResource) {
        self.resource = resource
        prefix = "\(Self.root)\(resource.group.isEmpty ? "core" : resource.group)/\(resource.resource)/"
    }

    var isServices: Bool { prefix == Self.services }

    /// The values of the fields by which the objects of the folder can be selected.
    func selectableFields(of object: KubeObject) -> [String: String] {
        guard let type = Self.types[prefix] else { return [:] }
        return KindDescription.of(type).selectableFields.mapValues { $0.value(of: object.json) }
    }

    func prefix(namespace: String?) -> String { namespace.map { "\(prefix)\($0)/" } ?? prefix }

    func key(_ namespace: String?, _ name: String) -> String { prefix(namespace: namespace) + name }
}
