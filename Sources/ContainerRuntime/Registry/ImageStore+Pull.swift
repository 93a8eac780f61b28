// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Synchronization
import Values

extension ImageStore {
    /// Fetches the image from its registry unless what is here is the same. A built-in image that stands in for it is
    /// answered without asking anybody.
    public func pull(_ reference: String, credentials: [RegistryCredential] = []) async throws -> LocalImage {
        let name = try ImageReference(reference)
        let index = readIndex()
        if index.record(name) == nil {
            if let builtin = index.records.first(where: { $0.builtinNames.contains(name.repository) }),
                let image = local(builtin, as: name.description)
            {
                return image
            }
            if let image = standIn(for: name, index) { return image }
        }
        // A digest says all: what is here is it.
        if name.digest != nil, let record = index.record(name), let image = local(record, as: name.description) {
            return image
        }
        // Pods that start together want the same image together: it comes once, also when one of them gives up.
        let key = PullKey(name: name.description, credentials: credentials)
        let task = pulls.withLock { pulls in
            if let running = pulls[key] { return running }
            let task = Task {
                defer { _ = self.pulls.withLock { $0.removeValue(forKey: key) } }
                return try await self.fetch(name, credentials)
            }
            pulls[key] = task
            return task
        }
        return try await task.value
    }

    struct PullKey: Sendable, Hashable {
        var name: String
        var credentials: [RegistryCredential]
    }

    private func fetch(_ name: ImageReference, _ credentials: [RegistryCredential]) async throws -> LocalImage {
        let docker = DockerConfig.read(registries.dockerConfigPath)
        var failure: (any Error)?
        var attempt: (any Error)?
        for endpoint in registries.endpoints(for: name) {
            let client = RegistryClient(
                name, endpoint, registries, credentials: credentials + docker.credentials,
                helper: docker.helper(for: name))
            do {
                return try await pull(name, from: client)
            } catch let error as ImageError where endpoint.isAttempt && error.kind == .unreachable {
                // It may speak TLS; what is said in the end is what was said first, unless TLS got an answer.
                attempt = error
            } catch let error as ImageError where endpoint.isMirror && error.kind != .noSpace {
                // The next one may have it; the registry's own word is the one that counts.
                failure = error
            } catch {
                if let attempt, (error as? ImageError)?.kind == .unreachable { throw attempt }
                throw ImageError.wrapping(error, image: name.description, doing: "pulling")
            }
        }
        throw failure ?? ImageError(.unreachable, "pulling image \"\(name)\": no registry is configured for it")
    }

    /// The proxy through which the image's registry is asked, and the variable that names it; nil: none.
    public func proxy(for reference: String) -> String? {
        guard let name = try? ImageReference(reference), let last = registries.endpoints(for: name).last else {
            return nil
        }
        return registries.proxy(for: last)?.description
    }

    private func pull(_ name: ImageReference, from client: RegistryClient) async throws -> LocalImage {
        var (bytes, digest) = try await client.manifest(name.identifier)
        let topDigest = digest
        var manifest = try parse(bytes, name)
        var depth = 0
        while let choices = manifest["manifests"].array {
            depth += 1
            guard depth < 4 else { throw damaged(name, "its indexes are nested too deeply") }
            let choice = try ManifestChoice.choose(choices, image: name.description)
            guard let wanted = choice["digest"].string, Digest.isValid(wanted) else {
                throw damaged(name, "its index names no digest")
            }
            (bytes, digest) = try await client.manifest(wanted)
            manifest = try parse(bytes, name)
        }
        if manifest["schemaVersion"].int == 1 {
            throw ImageError(
                .other,
                "pulling image \"\(name)\": its manifest has the old schema 1, which registries have given up: push it again with a current tool"
            )
        }
        guard let configDigest = manifest["config"]["digest"].string, Digest.isValid(configDigest),
            let layers = manifest["layers"].array
        else { throw damaged(name, "its manifest names no configuration or no layers") }

        let importing = try await OwnThread.run(awaiting: { LockBox(try self.importLock()) })
        defer { importing.release() }
        let known = "\(blobsFolder)/\(Digest.hex(configDigest))"
        let config: [UInt8]
        if let here = try? Files.read(known) { config = here } else { config = try await client.blob(configDigest) }
        let (_, diffIDs) = try Self.layers(of: config, image: name.description)
        guard diffIDs.count == layers.count else {
            throw damaged(name, "its configuration names \(diffIDs.count) layers, its manifest \(layers.count)")
        }
        try await fetch(layers, diffIDs, name, client)
        let size = layers.reduce(config.count) { sum, layer in
            sum.addingReportingOverflow(layer["size"].int ?? 0).partialValue
        }
        let image = ImportedImage(
            name: name.description, config: config, references: name.tag == nil ? [] : [name.withoutDigest.description],
            repoDigests: ["\(name.repository)@\(topDigest)"], sizeBytes: size)
        let record = try await OwnThread.run(awaiting: { try self.name(image, diffIDs: diffIDs) })
        guard let local = local(record, as: name.description) else { throw damaged(name, "its configuration vanished") }
        return local
    }

    /// Three layers at a time: one connection seldom fills the line, and unpacking uses a processor.
    private func fetch(
        _ layers: [JSON], _ diffIDs: [String], _ name: ImageReference, _ client: RegistryClient
    ) async throws {
        let work = try WorkFolder(in: self)
        var missing: [(digest: String, size: Int?, diffID: String)] = []
        for (layer, diffID) in zip(layers, diffIDs) where !Files.exists("\(layersFolder)/\(Digest.hex(diffID))") {
            guard let digest = layer["digest"].string, Digest.isValid(digest) else {
                throw damaged(name, "its manifest names a layer without a digest")
            }
            if layer["mediaType"].string?.contains("foreign") == true || layer["urls"].array?.isEmpty == false {
                throw ImageError(
                    .other, "pulling image \"\(name)\": layer \(digest) is not kept by the registry (foreign)")
            }
            // Empty layers come more than once.
            if !missing.contains(where: { $0.diffID == diffID }) { missing.append((digest, layer["size"].int, diffID)) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, layer) in missing.enumerated() {
                if index >= 3 { try await group.next() }
                group.addTask {
                    let file = "\(work.path)/\(index)"
                    try await client.download(layer.digest, size: layer.size, to: file)
                    try await OwnThread.run(awaiting: {
                        try self.unpackLayer(file, diffID: layer.diffID, image: name.description)
                    })
                    unlink(file)
                }
            }
            try await group.waitForAll()
        }
        _ = work
    }

    private func parse(_ bytes: [UInt8], _ name: ImageReference) throws -> JSON {
        do { return try JSON(parsing: bytes) } catch { throw damaged(name, "its manifest cannot be read: \(error)") }
    }

    private func damaged(_ name: ImageReference, _ why: String) -> ImageError {
        ImageError(.corrupt, "pulling image \"\(name)\": \(why): push it again")
    }
}

extension ImageReference {
    var withoutDigest: ImageReference { ImageReference(domain: domain, path: path, tag: tag) }
}

/// Holds a lock across suspensions; released once.
final class LockBox: Sendable {
    private let lock: Mutex<FileLockHolder?>

    init(_ lock: consuming FileLock) { self.lock = Mutex(FileLockHolder(lock)) }

    func release() { lock.withLock { $0 = nil } }
}

/// A class around what cannot be copied.
final class FileLockHolder: Sendable {
    private let lock: FileLock
    init(_ lock: consuming FileLock) { self.lock = lock }
}
