// SPDX-License-Identifier: Apache-2.0

import CArchive
import Glibc
import Linux
import Values

extension ImageStore {
    /// Takes in the images of a docker or OCI archive (tar, also compressed) and returns their references; of an image
    /// without a name its id.
    public func load(archive path: String) async throws -> [String] {
        try await OwnThread.run(awaiting: { try self.loadArchive(path, named: path) })
    }

    /// The same from a pipe, `docker save IMAGE | catbird image load -`. Whoever writes must not fall silent for
    /// longer than `patience`.
    public func load(from input: Int32, patience: Duration = .seconds(60)) async throws -> [String] {
        let name = "standard input"
        return try await OwnThread.run(awaiting: {
            do {
                let work = try WorkFolder(in: self)
                let path = work.path + "/archive.tar"
                let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL)
                var room = UnpackLimits().bytes
                while true {
                    guard FileDescriptor.hasInput(input, until: .now + patience) else {
                        throw ArchiveDamage(reason: "nothing came for \(patience), and it is not at its end")
                    }
                    let part = try FileDescriptor.read(input, upTo: 1 << 20)
                    if part.isEmpty { break }
                    room -= part.count
                    guard room >= 0 else { throw ArchiveDamage(reason: "more than \(UnpackLimits().bytes) bytes") }
                    try file.write(part)
                }
                return try self.loadArchive(path, named: name)
            } catch { throw ImageError.wrapping(error, image: name, doing: "loading") }
        })
    }

    private func loadArchive(_ path: String, named name: String) throws -> [String] {
        guard Files.kind(path, follow: true) == .file else {
            throw ImageError(
                .notFound,
                Files.exists(path)
                    ? "\"\(path)\" is not a file; \"docker save IMAGE -o FILE\" makes one that can be loaded"
                    : "there is no file \"\(path)\"")
        }
        do {
            let importing = try importLock()
            let work = try WorkFolder(in: self)
            let folder = work.path + "/archive"
            guard mkdir(folder, 0o700) == 0 else { throw Errno("mkdir", folder) }
            var limits = UnpackLimits()
            limits.whiteouts = false
            limits.entries = 100_000
            var unpacker = try LayerUnpacker(into: folder, limits: limits)
            let file = try DecompressedFile(path)
            try unpacker.unpack(file)
            guard file.byteCount > 0 else { throw ArchiveDamage(reason: "it is empty") }
            let archive = ImageArchive(folder, name)
            let images = try archive.images()
            guard !images.isEmpty else {
                throw ArchiveDamage(reason: "it holds no image")
            }
            var result: [String] = []
            // All of them are checked and unpacked before the first gets its name.
            for image in images {
                for layer in image.layers { try unpackLayer(layer.path, diffID: layer.diffID, image: image.image.name) }
            }
            for image in images {
                let record = try finishImport(image.image, layers: image.layers)
                result += image.image.references.isEmpty ? [record.id] : image.image.references
            }
            _ = consume importing
            return result
        } catch {
            // Layers that were unpacked before the damage showed belong to nobody.
            try? collectGarbage()
            throw ImageError.wrapping(error, image: name, doing: "loading")
        }
    }
}

/// An unpacked docker or OCI archive. Its files are opened below its folder only.
struct ImageArchive {
    typealias Image = (image: ImageStore.ImportedImage, layers: [ImageStore.LayerFile])

    let folder: String
    let source: String

    init(_ folder: String, _ source: String) {
        self.folder = folder
        self.source = source
    }

    func images() throws -> [Image] {
        if exists("manifest.json") { return try dockerImages() }
        if exists("index.json") { return try ociImages() }
        throw ArchiveDamage(
            reason: "neither manifest.json (docker save) nor index.json (OCI) is in it; it is not an image archive")
    }

    private func exists(_ name: String) -> Bool { Files.kind("\(folder)/\(name)") != nil }

    /// The real path of a file of the archive, with the links in it followed below the folder.
    private func resolve(_ name: String) throws -> String {
        let directory = try FileDescriptor.open(folder, O_RDONLY | O_DIRECTORY)
        // What is a pipe in it is opened too, without waiting for its other end, and then refused.
        let file: FileDescriptor
        do throws(Errno) {
            file = try Files.open(
                FileName(name), beneath: directory.rawValue, O_RDONLY | O_NONBLOCK, links: .withinFolder)
        } catch {
            if error.code == ENOENT { throw ArchiveDamage(reason: "\"\(name)\" is named but not in it") }
            if error.code == ENXIO { throw ArchiveDamage(reason: "\"\(name)\" is not a file") }
            throw ArchiveDamage(reason: "\"\(name)\" leads out of it")
        }
        var info = stat()
        guard fstat(file.rawValue, &info) == 0, info.st_mode & 0o170000 == UInt32(CATBIRD_FILE) else {
            throw ArchiveDamage(reason: "\"\(name)\" is not a file")
        }
        return try Files.target(ofLink: "/proc/self/fd/\(file.rawValue)")
    }

    private func json(_ name: String) throws -> JSON {
        do { return try JSON(parsing: Files.read(resolve(name), limit: 16 << 20)) } catch let error as JSONParseError {
            throw ArchiveDamage(reason: "\(name): \(error)")
        }
    }

    private func image(_ config: [UInt8], _ references: [String], _ files: [String], _ name: String) throws -> Image {
        let (_, diffIDs) = try ImageStore.layers(of: config, image: name)
        guard diffIDs.count == files.count else {
            throw ArchiveDamage(
                reason: "\(name): the configuration names \(diffIDs.count) layers, the manifest \(files.count)")
        }
        var size = config.count
        for file in files {
            var info = stat()
            if stat(file, &info) == 0 { size += Int(info.st_size) }
        }
        return (
            ImageStore.ImportedImage(name: name, config: config, references: references, sizeBytes: size),
            zip(files, diffIDs).map { ImageStore.LayerFile(path: $0, diffID: $1) }
        )
    }

    private func complete(_ names: [String]) throws -> [String] { try names.map { try ImageReference($0).description } }

    private func dockerImages() throws -> [Image] {
        guard let entries = try json("manifest.json").array, !entries.isEmpty else {
            throw ArchiveDamage(reason: "manifest.json names no image")
        }
        return try entries.map { entry in
            guard let config = entry["Config"].string, let layers = entry["Layers"].array?.compactMap(\.string) else {
                throw ArchiveDamage(reason: "manifest.json: an image without Config or Layers")
            }
            let references = try complete(entry["RepoTags"].array?.compactMap(\.string) ?? [])
            let bytes = try Files.read(resolve(config), limit: 16 << 20)
            return try image(bytes, references, layers.map { try resolve($0) }, references.first ?? source)
        }
    }

    // MARK: OCI

    private func blob(_ descriptor: JSON, limit: Int = 16 << 20) throws -> (path: String, digest: String) {
        guard let digest = descriptor["digest"].string, Digest.isValid(digest) else {
            throw ArchiveDamage(reason: "a descriptor has no sha256 digest")
        }
        return (try resolve("blobs/sha256/\(Digest.hex(digest))"), digest)
    }

    /// A small blob, checked against its digest.
    private func content(_ descriptor: JSON) throws -> [UInt8] {
        let (path, digest) = try blob(descriptor)
        let bytes = try Files.read(path, limit: 16 << 20)
        guard Digest.of(bytes) == digest else { throw ArchiveDamage(reason: "blob \(digest) has another content") }
        return bytes
    }

    private func ociImages() throws -> [Image] {
        let index = try json("index.json")
        var result: [Image] = []
        for descriptor in index["manifests"].array ?? [] {
            let annotations = descriptor["annotations"]
            let name =
                annotations["io.containerd.image.name"].string
                ?? annotations["org.opencontainers.image.ref.name"].string
            // A name may be a mere tag, which says nothing without a repository.
            let references = name.flatMap { $0.contains(":") || $0.contains("/") ? try? complete([$0]) : nil } ?? []
            if let image = try ociImage(descriptor, references, depth: 0) { result.append(image) }
        }
        return result
    }

    private func ociImage(_ descriptor: JSON, _ references: [String], depth: Int) throws -> Image? {
        guard depth < 4 else { throw ArchiveDamage(reason: "indexes are nested too deeply") }
        let manifest = try JSON(parsing: content(descriptor))
        let name = references.first ?? source
        if let manifests = manifest["manifests"].array {
            let choice = try ManifestChoice.choose(manifests, image: name)
            return try ociImage(choice, references, depth: depth + 1)
        }
        guard let config = manifest["config"], let layers = manifest["layers"].array else {
            throw ArchiveDamage(reason: "a manifest without config or layers")
        }
        return try image(content(config), references, layers.map { try blob($0).path }, name)
    }
}

/// Which image of an index is for this machine.
enum ManifestChoice {
    static func choose(_ manifests: [JSON], image: String) throws(ImageError) -> JSON {
        var best: (fitness: Int, manifest: JSON)?
        var others: [String] = []
        for manifest in manifests {
            // Attestations and the like name the platform "unknown".
            guard let platform = Platform(manifest["platform"]) else {
                if manifests.count == 1 { return manifest }
                continue
            }
            if platform.architecture == "unknown" { continue }
            if let fitness = platform.fitness(on: .current) {
                if fitness > best?.fitness ?? -1 { best = (fitness, manifest) }
            } else {
                others.append(platform.description)
            }
        }
        if let best { return best.manifest }
        throw ImageError(
            .wrongArchitecture,
            "image \"\(image)\" is not made for \(Platform.current.description); available are \(others.isEmpty ? "none" : others.joined(separator: ", ")): choose another image or tag, or a machine of one of these"
        )
    }
}
