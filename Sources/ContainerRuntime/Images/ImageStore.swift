// SPDX-License-Identifier: Apache-2.0

import CArchive
import Glibc
import Linux
import Logging
import Synchronization
import Values

/// Images on this machine: content-addressed, unpacked once, shared by all nodes and all profiles.
///
/// `blobs/sha256/` holds configurations and manifests, `layers/` one unpacked folder a layer, `index.json` the names.
/// What is half done lies in `tmp/` and is renamed into place, so that nobody ever sees it: any number of processes use
/// the store at once, and each may be killed at any instant.
public final class ImageStore: Sendable {
    public let root: String
    /// Whether built-in images answer for the originals that they stand in for.
    public let usesStandIns: Bool
    let registries: RegistrySettings
    let log: Logger

    struct Cache {
        var stamp: FileStamp?
        var index = StoreIndex()
        var configurations: [String: JSON] = [:]
    }
    let cache = Mutex(Cache())
    /// What is being fetched by this process.
    let pulls = Mutex<[PullKey: Task<LocalImage, any Error>]>([:])

    /// - Parameter registries: mirrors and registries without TLS; nil reads them from this machine's files.
    public init(
        root: String = "/var/lib/catbird/images", usesStandIns: Bool = true, registries: RegistrySettings? = nil
    ) {
        self.root = root
        self.usesStandIns = usesStandIns
        self.registries = registries ?? .ofThisMachine()
        log = Logger(label: "images")
    }

    var layersFolder: String { root + "/layers" }
    var blobsFolder: String { root + "/blobs/sha256" }
    var indexPath: String { root + "/index.json" }

    /// Makes the store's folders. Not readable for others: layers hold set-user-ID programs of strangers.
    func prepare() throws(Errno) {
        try Files.makeDirectories(root, mode: 0o711)
        for folder in [layersFolder, root + "/tmp", root + "/leases", root + "/locks"] {
            try Files.makeDirectories(folder, mode: 0o700)
        }
        try Files.makeDirectories(blobsFolder, mode: 0o700)
    }

    // MARK: Reading

    /// The image of that reference, or of that id, if it is here. Built-in images answer for their originals.
    public func image(_ reference: String) -> LocalImage? {
        let index = readIndex()
        if Digest.isValid(reference) { return index.record(id: reference).flatMap { local($0, as: nil) } }
        guard let name = try? ImageReference(reference) else { return idPrefix(reference, index) }
        if let record = index.record(name) { return local(record, as: name.description) }
        if let record = index.records.first(where: { $0.builtinNames.contains(name.repository) }) {
            return local(record, as: name.description)
        }
        if let standIn = standIn(for: name, index) { return standIn }
        return idPrefix(reference, index)
    }

    /// A built-in image for the original of that name.
    func standIn(for name: ImageReference, _ index: StoreIndex) -> LocalImage? {
        guard usesStandIns, name.digest == nil,
            let record = index.records.first(where: { $0.standsInFor.contains(name.repository) }),
            var image = local(record, as: nil)
        else { return nil }
        image.standsInFor = name.description
        return image
    }

    /// As docker does: the first digits of an id, at least twelve.
    private func idPrefix(_ text: String, _ index: StoreIndex) -> LocalImage? {
        guard text.utf8.count >= 12, text.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
        else { return nil }
        let matches = index.records.filter { Digest.hex($0.id).hasPrefix(text) }
        return matches.count == 1 ? local(matches[0], as: nil) : nil
    }

    public func list() -> [LocalImage] {
        readIndex().records.compactMap { local($0, as: nil) }.sorted { $0.reference < $1.reference }
    }

    func local(_ record: StoreIndex.Record, as reference: String?) -> LocalImage? {
        guard let config = configuration(record.id) else { return nil }
        return LocalImage(
            reference: reference ?? record.references.first ?? record.repoDigests.first ?? record.id, id: record.id,
            repoDigests: record.repoDigests, repoTags: record.references, sizeBytes: record.sizeBytes,
            layerPaths: record.layers.map { "\(layersFolder)/\($0)" }, config: config)
    }

    private func configuration(_ id: String) -> JSON? {
        if let known = cache.withLock({ $0.configurations[id] }) { return known }
        guard let bytes = try? Files.read("\(blobsFolder)/\(Digest.hex(id))"), let json = try? JSON(parsing: bytes)
        else {
            return nil
        }
        cache.withLock { $0.configurations[id] = json }
        return json
    }

    /// The index as it is on disk now.
    func readIndex() -> StoreIndex {
        guard let stamp = FileStamp(indexPath) else { return StoreIndex() }
        if let known = cache.withLock({ $0.stamp == stamp ? $0.index : nil }) { return known }
        guard let bytes = try? Files.read(indexPath), let json = try? JSON(parsing: bytes), let index = StoreIndex(json)
        else { return StoreIndex() }
        cache.withLock {
            $0.stamp = stamp
            $0.index = index
        }
        return index
    }

    // MARK: Changing

    /// Changes the index while nobody else does.
    func changeIndex<T>(_ body: (inout StoreIndex) throws -> T) throws -> T {
        try prepare()
        let lock = try FileLock(root + "/locks/index")
        var index = readIndex()
        let result = try body(&index)
        try Files.replace(indexPath, with: index.json.serialized())
        _ = consume lock
        return result
    }

    func writeBlob(_ bytes: [UInt8]) throws -> String {
        try prepare()
        let digest = Digest.of(bytes)
        let path = "\(blobsFolder)/\(Digest.hex(digest))"
        if !Files.exists(path) { try Files.replace(path, with: bytes) }
        return digest
    }

    /// Gives an image one more name, and takes that name from the image that had it.
    public func tag(_ source: String, as name: String) throws {
        do {
            let reference = try ImageReference(name).description
            try changeIndex { index in
                guard let image = image(source), var record = index.record(id: image.id) else {
                    throw ImageError(
                        .notFound, "image \"\(source)\" is not on this machine; \"catbird image ls\" lists what is")
                }
                record.references = [reference]
                index.insert(record)
                index.records.removeAll { $0.references.isEmpty && $0.repoDigests.isEmpty }
            }
            try collectGarbage()
        } catch { throw ImageError.wrapping(error, image: source, doing: "tagging") }
    }

    /// Takes the reference away; layers that no image and no container uses any more go with it.
    public func remove(_ reference: String) throws {
        do {
            try changeIndex { index in
                if Digest.isValid(reference) || ((try? ImageReference(reference)).flatMap { index.record($0) }) == nil {
                    // By id: with all its names.
                    guard let image = image(reference), image.standsInFor == nil,
                        let position = index.records.firstIndex(where: { $0.id == image.id }),
                        index.records[position].builtinNames.isEmpty
                            || index.records[position].references.contains(image.reference)
                    else {
                        throw ImageError(
                            .notFound,
                            "image \"\(reference)\" is not on this machine; \"catbird image ls\" lists what is")
                    }
                    index.records.remove(at: position)
                    return
                }
                let name = try ImageReference(reference)
                for position in index.records.indices {
                    index.records[position].references.removeAll { $0 == name.description }
                    if let digest = name.digest {
                        index.records[position].repoDigests.removeAll { $0 == "\(name.repository)@\(digest)" }
                    }
                }
                index.records.removeAll {
                    $0.references.isEmpty && (name.digest != nil ? $0.repoDigests.isEmpty : true)
                }
            }
            try collectGarbage()
        } catch { throw ImageError.wrapping(error, image: reference, doing: "removing") }
    }
}

/// Tells whether a file is still the same without reading it.
struct FileStamp: Sendable, Hashable {
    let device: UInt64
    let inode: UInt64
    let size: Int64
    let seconds: Int
    let nanoseconds: Int

    /// Nil when there is no such file.
    init?(_ path: String) {
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        device = UInt64(info.st_dev)
        inode = UInt64(info.st_ino)
        size = Int64(info.st_size)
        seconds = info.st_mtim.tv_sec
        nanoseconds = info.st_mtim.tv_nsec
    }
}

extension ImageError {
    /// What a failure below means to whoever asked for an image.
    static func wrapping(_ error: any Error, image: String, doing: String) -> any Error {
        switch error {
        case let error as ImageError: return error
        case let error as CancellationError: return error
        case let error as ArchiveDamage:
            return ImageError(
                .corrupt, "\(doing) image \"\(image)\": the archive is damaged or malicious: \(error.reason)")
        case let error as Errno where error.code == ENOSPC || error.code == EDQUOT:
            return ImageError(
                .noSpace,
                "\(doing) image \"\(image)\": no space left on the disk (\(error)); free some, for instance with \"catbird image rm\""
            )
        default: return ImageError(.other, "\(doing) image \"\(image)\": \(error)")
        }
    }
}
