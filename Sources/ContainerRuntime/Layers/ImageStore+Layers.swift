// SPDX-License-Identifier: Apache-2.0

import CArchive
import Glibc
import Linux
import Logging
import Synchronization
import Values

extension ImageStore {
    /// Unpacks a layer unless it is here. Two processes that want the same one do it once. Blocks its thread.
    ///
    /// - Parameters:
    ///   - file: the layer's tar, compressed or not.
    ///   - diffID: the digest that the uncompressed tar must have.
    func unpackLayer(_ file: String, diffID: String, image: String) throws {
        guard Digest.isValid(diffID) else {
            throw ImageError(
                .corrupt, "image \"\(image)\": its configuration names a layer \"\(diffID)\", which is no digest")
        }
        let target = "\(layersFolder)/\(Digest.hex(diffID))"
        if Files.exists(target) { return }
        do {
            try prepare()
            let lock = try FileLock("\(root)/locks/\(Digest.hex(diffID))")
            if Files.exists(target) { return }
            let work = try WorkFolder(in: self)
            let folder = work.path + "/layer"
            guard mkdir(folder, 0o755) == 0 else { throw Errno("mkdir", folder) }
            // Whatever the umask is.
            chmod(folder, 0o755)
            var unpacker = try LayerUnpacker(into: folder)
            let source = try DecompressedFile(file)
            try unpacker.unpack(source)
            let found = Digest.text(source.hash)
            guard found == diffID else {
                throw ArchiveDamage(reason: "layer \(diffID) unpacks to something else (\(found))")
            }
            for note in unpacker.notes.prefix(20) { log.notice("image \(image), layer \(diffID.prefix(19)): \(note)") }
            let handle = try FileDescriptor.open(folder, O_RDONLY | O_DIRECTORY)
            // The files must be on disk before the name says so.
            guard catbird_sync_filesystem(handle.rawValue) == 0 else { throw Errno("syncfs", folder) }
            if rename(folder, target) != 0, errno != EEXIST, errno != ENOTEMPTY { throw Errno("rename", target) }
            unlink("\(root)/locks/\(Digest.hex(diffID))")
            _ = consume lock
        } catch { throw ImageError.wrapping(error, image: image, doing: "unpacking") }
    }

    /// Notes that a pod uses layers, so that removing their image leaves them. The lease ends with the pod's control
    /// group: of all that a pod has, that alone has the same name for everybody on the machine.
    package func lease(_ name: String, layers: [String], group: String) throws {
        try prepare()
        let json: JSON = [
            "group": JSON(group),
            "layers": JSON(layers.compactMap { $0.split(separator: "/").last.map(String.init) }),
        ]
        try Files.replace("\(root)/leases/\(name)", with: json.serialized(), durable: false)
    }

    package func endLease(_ name: String) { unlink("\(root)/leases/\(name)") }

    /// Removes layers and configurations that no image and no living lease names.
    func collectGarbage() throws {
        // Whoever takes in an image holds this until the index names what it unpacked: garbage can wait.
        guard let importing = try FileLock.tryLock(root + "/locks/import") else { return }
        let lock = try FileLock(root + "/locks/index")
        let index = readIndex()
        let groups = try CgroupLayout.detect()
        var layers = Set(index.records.flatMap(\.layers))
        let blobs = Set(index.records.map { Digest.hex($0.id) })
        for entry in (try? Files.list(root + "/leases")) ?? [] {
            let path = "\(root)/leases/\(entry.name)"
            guard let bytes = try? Files.read(path), let json = try? JSON(parsing: bytes),
                let group = json["group"].string, groups.exists(group)
            else {
                unlink(path)
                continue
            }
            layers.formUnion(json["layers"].array?.compactMap(\.string) ?? [])
        }
        let work = try WorkFolder(in: self)
        let layersHandle = try FileDescriptor.open(layersFolder, O_RDONLY | O_DIRECTORY)
        let workHandle = try FileDescriptor.open(work.path, O_RDONLY | O_DIRECTORY)
        for entry in (try? Files.list(layersFolder)) ?? [] where !layers.contains(entry.name) {
            let name = entry.fileName.cString
            _ = renameat(layersHandle.rawValue, name, workHandle.rawValue, name)
        }
        for entry in (try? Files.list(blobsFolder)) ?? [] where !blobs.contains(entry.name) {
            unlink("\(blobsFolder)/\(entry.name)")
        }
        cache.withLock { $0.configurations = $0.configurations.filter { blobs.contains(Digest.hex($0.key)) } }
        _ = consume lock
        _ = consume importing
    }
}

/// What tells a process from a later one of the same number.
enum ProcessIdentity {
    /// In ticks since the machine started; nil when there is no such process.
    static func startTime(of pid: Int32) -> String? {
        guard let text = try? Files.text("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else { return nil }
        // The name in parentheses may hold anything; the start time is the 20th field after it.
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z" else { return nil }
        return String(fields[19])
    }
}
