// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// The machine's architecture, as images name it.
struct Platform: Sendable, Hashable {
    var os = "linux"
    var architecture: String
    /// `v7`, `v8`; empty when there are none.
    var variant = ""

    static let current: Platform = {
        #if arch(x86_64)
        Platform(architecture: "amd64")
        #elseif arch(arm64)
        Platform(architecture: "arm64", variant: "v8")
        #elseif arch(arm)
        Platform(architecture: "arm", variant: "v7")
        #elseif arch(i386)
        Platform(architecture: "386")
        #elseif arch(riscv64)
        Platform(architecture: "riscv64")
        #elseif arch(powerpc64le)
        Platform(architecture: "ppc64le")
        #elseif arch(s390x)
        Platform(architecture: "s390x")
        #else
        Platform(architecture: "unknown")
        #endif
    }()

    init(os: String = "linux", architecture: String, variant: String = "") {
        self.os = os
        self.architecture = architecture
        self.variant = variant
    }

    /// From the `platform` of an index or from an image's configuration. Nil when it names no architecture.
    init?(_ json: JSON?) {
        guard let architecture = json["architecture"].string, !architecture.isEmpty else { return nil }
        self.init(os: json["os"].string ?? "linux", architecture: architecture, variant: json["variant"].string ?? "")
    }

    /// Whether this machine runs it, and how well it fits: more is better, nil not at all.
    func fitness(on machine: Platform) -> Int? {
        guard os == machine.os, architecture == machine.architecture else { return nil }
        if variant == machine.variant { return 3 }
        if variant.isEmpty || machine.variant.isEmpty { return 2 }
        // An older variant of arm runs on a newer one.
        return variant < machine.variant ? 1 : nil
    }

    var description: String { "\(os)/\(architecture)" + (variant.isEmpty ? "" : "/\(variant)") }
}

extension ImageStore {
    /// A layer's tar and the digest of its content.
    struct LayerFile: Sendable {
        var path: String
        var diffID: String
    }

    /// What an image is made of.
    struct ImportedImage: Sendable {
        var name: String
        var config: [UInt8]
        var references: [String]
        var repoDigests: [String] = []
        var sizeBytes: Int
    }

    /// Checks an image's configuration and returns its layers' digests.
    static func layers(of config: [UInt8], image: String) throws(ImageError) -> (json: JSON, diffIDs: [String]) {
        let json: JSON
        do { json = try JSON(parsing: config) } catch {
            throw ImageError(.corrupt, "image \"\(image)\": its configuration cannot be read: \(error)")
        }
        guard let diffIDs = json["rootfs"]["diff_ids"].array?.compactMap(\.string),
            diffIDs.allSatisfy({ Digest.isValid($0) })
        else {
            throw ImageError(
                .corrupt, "image \"\(image)\": its configuration does not name its layers (rootfs.diff_ids)")
        }
        if let platform = Platform(json), platform.fitness(on: .current) == nil {
            throw ImageError(
                .wrongArchitecture,
                "image \"\(image)\" is for \(platform.description), this machine is \(Platform.current.description): choose an image or a tag that is made for it"
            )
        }
        return (json, diffIDs)
    }

    /// Unpacks what is not here yet and names the image. `importing` must be held by the caller.
    func finishImport(_ image: ImportedImage, layers: [LayerFile]) throws -> StoreIndex.Record {
        for layer in layers { try unpackLayer(layer.path, diffID: layer.diffID, image: image.name) }
        return try name(image, diffIDs: layers.map(\.diffID))
    }

    func name(_ image: ImportedImage, diffIDs: [String]) throws -> StoreIndex.Record {
        let id = try writeBlob(image.config)
        let record = StoreIndex.Record(
            id: id, references: image.references, repoDigests: image.repoDigests, sizeBytes: image.sizeBytes,
            layers: diffIDs.map { Digest.hex($0) }, builtinNames: [], standsInFor: [])
        return try changeIndex { index in
            index.insert(record)
            return index.record(id: id) ?? record
        }
    }

    /// Keeps garbage collection away until what is being taken in is named.
    func importLock() throws -> FileLock {
        try prepare()
        return try FileLock(root + "/locks/import", .shared)
    }
}
