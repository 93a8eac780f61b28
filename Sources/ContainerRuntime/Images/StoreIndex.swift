// SPDX-License-Identifier: Apache-2.0

import Values

/// What `index.json` of the store holds: which images there are and under which names.
struct StoreIndex: Sendable {
    struct Record: Sendable {
        /// Digest of the configuration.
        var id: String
        /// Complete references.
        var references: [String]
        var repoDigests: [String]
        var sizeBytes: Int
        /// Names of folders in `layers`, the lowest first.
        var layers: [String]
        /// Of a built-in image: repositories (`docker.io/catbird/ctl`) that it answers for with any tag.
        var builtinNames: [String]
        var standsInFor: [String]
    }

    var records: [Record] = []

    func record(id: String) -> Record? { records.first { $0.id == id } }

    /// The image under a complete reference, tag or digest.
    func record(_ reference: ImageReference) -> Record? {
        if let digest = reference.digest {
            let wanted = "\(reference.repository)@\(digest)"
            return records.first {
                $0.repoDigests.contains(wanted) || ($0.id == digest && $0.names(reference.repository))
            }
        }
        let wanted = reference.description
        return records.first { $0.references.contains(wanted) }
    }

    /// Gives the references to this image and takes them from others; images that lose their last name go.
    mutating func insert(_ new: Record) {
        var new = new
        if let old = record(id: new.id) {
            new.references = old.references + new.references.filter { !old.references.contains($0) }
            new.repoDigests = old.repoDigests + new.repoDigests.filter { !old.repoDigests.contains($0) }
        }
        records.removeAll { $0.id == new.id }
        for index in records.indices { records[index].references.removeAll { new.references.contains($0) } }
        records.append(new)
    }
}

extension StoreIndex.Record {
    func names(_ repository: String) -> Bool {
        references.contains { $0.hasPrefix(repository + ":") }
            || repoDigests.contains { $0.hasPrefix(repository + "@") }
    }
}

extension StoreIndex {
    static let version = 1

    /// Nil for anything but an index of this version.
    init?(_ json: JSON) {
        guard json["version"].int == Self.version, let images = json["images"].array else { return nil }
        records = images.compactMap { image in
            guard let id = image["id"].string, let layers = image["layers"].array?.compactMap(\.string) else {
                return nil
            }
            func strings(_ key: String) -> [String] { image[key].array?.compactMap(\.string) ?? [] }
            return Record(
                id: id, references: strings("references"), repoDigests: strings("repoDigests"),
                sizeBytes: image["size"].int ?? 0, layers: layers, builtinNames: strings("builtinNames"),
                standsInFor: strings("standsInFor"))
        }
    }

    var json: JSON {
        [
            "version": JSON(Self.version),
            "images": .array(
                records.map { record in
                    [
                        "id": JSON(record.id), "references": JSON(record.references),
                        "repoDigests": JSON(record.repoDigests), "size": JSON(record.sizeBytes),
                        "layers": JSON(record.layers), "builtinNames": JSON(record.builtinNames),
                        "standsInFor": JSON(record.standsInFor),
                    ]
                }),
        ]
    }
}
