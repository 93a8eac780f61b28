// SPDX-License-Identifier: Apache-2.0

import Glibc
public import KubeObjects
import Linux
import Synchronization
import Values

/// IPAM objects as files of one folder: for a machine without a cluster.
///
/// A batch holds the folder's lock, so that plugins that run at the same time wait for each other; each file is replaced
/// in one step and synced. Pools, the node and the configuration are not kept: they are what the caller says they are.
///
///     LOCK  blockaffinities/NAME.json  ipamblocks/NAME.json  ipamhandles/NAME.json
public final class FileStore: IPAMStore {
    /// A file that is not what this store writes.
    public struct Damage: Error, Sendable, Hashable, CustomStringConvertible {
        public let path: String
        public let reason: String
        public var description: String {
            "\(path) is no IPAM object (\(reason)); repair it, or remove it if nothing on this machine uses its addresses"
        }
    }

    private struct State {
        var lock: Int32?
        var objects: [String: [String: KubeObject]] = [:]
    }

    private static let resources: [GroupVersionResource] = [.ipamBlocks, .blockAffinities, .ipamHandles]

    private let folder: String
    private let given: IPAMObjects
    private let state = Mutex(State())

    /// - Parameters:
    ///   - folder: made with the first batch.
    ///   - given: pools, nodes, reservations and configuration.
    public init(_ folder: String, given: IPAMObjects) {
        self.folder = folder
        self.given = given
    }

    deinit { unlock() }

    public var objects: IPAMObjects {
        state.withLock { state in
            var result = given
            result.blocks = Array((state.objects[GroupVersionResource.ipamBlocks.resource] ?? [:]).values)
            result.affinities = Array((state.objects[GroupVersionResource.blockAffinities.resource] ?? [:]).values)
            return result
        }
    }

    /// The handles as read by the last batch.
    public var handles: [KubeObject] {
        state.withLock { Array(($0.objects[GroupVersionResource.ipamHandles.resource] ?? [:]).values) }
    }

    /// Takes the lock, waiting for others, and reads all files.
    public func begin() async throws {
        try await OwnThread.run(awaiting: { try self.lockAndRead() })
    }

    public func end() async { unlock() }

    private func lockAndRead() throws {
        try Files.makeDirectories(folder, mode: 0o700)
        for resource in Self.resources { try Files.makeDirectories("\(folder)/\(resource.resource)", mode: 0o700) }
        let file = try FileDescriptor.open("\(folder)/LOCK", O_RDWR | O_CREAT | O_CLOEXEC)
        while flock(file.rawValue, LOCK_EX) != 0 {
            guard errno == EINTR else { throw Errno("flock", "\(folder)/LOCK") }
        }
        let descriptor = file.take()
        state.withLock { $0.lock = descriptor }
        do {
            var objects: [String: [String: KubeObject]] = [:]
            for resource in Self.resources { objects[resource.resource] = try read(resource) }
            state.withLock { $0.objects = objects }
        } catch {
            unlock()
            throw error
        }
    }

    private func read(_ resource: GroupVersionResource) throws -> [String: KubeObject] {
        var objects: [String: KubeObject] = [:]
        for entry in try Files.list("\(folder)/\(resource.resource)") {
            let path = "\(folder)/\(resource.resource)/\(entry.name)"
            guard entry.name.hasSuffix(".json") else {
                // Of a writer that was killed before it put its file in place; nobody else writes now.
                unlink(path)
                continue
            }
            do {
                let object = KubeObject(try JSON(parsing: try Files.read(path)))
                guard "\(object.name).json" == entry.name else {
                    throw Damage(path: path, reason: "metadata.name is \"\(object.name)\"")
                }
                objects[object.name] = object
            } catch let error as JSONParseError {
                throw Damage(path: path, reason: "\(error)")
            }
        }
        return objects
    }

    private func unlock() {
        // The lock ends with its descriptor.
        state.withLock { state in
            if let lock = state.lock { close(lock) }
            state.lock = nil
        }
    }

    public func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject? {
        state.withLock { $0.objects[resource.resource]?[name] }
    }

    /// Only between ``begin()`` and ``end()``.
    public func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] {
        try state.withLock { state in
            guard state.lock != nil else { throw Errno(code: EBADF, call: "flock", detail: "\(folder)/LOCK") }
            return try changes.map { try make($0, &state) }
        }
    }

    private func make(_ change: IPAMChange, _ state: inout State) throws -> IPAMOutcome {
        var object = change.object
        let resource = change.resource.resource
        let path = "\(folder)/\(resource)/\(object.name).json"
        let old = state.objects[resource]?[object.name]
        func isStale(_ wanted: String, _ stored: String) -> Bool { !wanted.isEmpty && wanted != stored }
        switch change.verb {
        case .create:
            guard old == nil else { return .exists }
            object["metadata"]["uid"] = JSON("\(UInt64.random(in: 1 ... .max))")
        case .update:
            guard let old else { return .notFound }
            if isStale(object.resourceVersion, old.resourceVersion) { return .conflict }
            object["metadata"]["uid"] = JSON(old.uid)
        case .delete:
            guard let old else { return .notFound }
            if isStale(object.uid, old.uid) || isStale(object.resourceVersion, old.resourceVersion) { return .conflict }
            guard unlink(path) == 0 else { throw Errno("unlink", path) }
            state.objects[resource]?[object.name] = nil
            return .deleted
        }
        // Grows with time, also over a deletion and a clock that jumps back.
        let time = Timestamp.now
        let clock = time.seconds &* 1_000_000_000 &+ Int64(time.nanoseconds)
        let version = max(clock, (old.flatMap { Int64($0.resourceVersion) } ?? 0) &+ 1)
        object["metadata"]["resourceVersion"] = JSON("\(version)")
        try Files.replace(path, with: object.json.serialized())
        state.objects[resource]?[object.name] = object
        return .written(object)
    }
}
