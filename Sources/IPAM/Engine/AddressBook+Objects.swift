// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Values

extension AddressBook {
    /// Makes changes and takes their outcome into the view: what was written is known, and what turned out to be
    /// different from what was known is read again.
    func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] {
        guard !changes.isEmpty else { return [] }
        let outcomes = try await store.apply(changes)
        for (change, outcome) in zip(changes, outcomes) {
            switch outcome {
            case .written(let object): view.note(change.resource, object)
            case .deleted: view.noteDeletion(change.resource, change.object)
            case .notFound: view.noteAbsence(change.resource, change.object.name)
            case .exists, .conflict: try await refresh(change.resource, change.object.name)
            }
        }
        return outcomes
    }

    /// Reads one object anew.
    func refresh(_ resource: GroupVersionResource, _ name: String) async throws {
        guard resource != .ipamHandles else { return }
        if let object = try await store.get(resource, name) {
            view.note(resource, object)
        } else {
            view.noteAbsence(resource, name)
        }
    }

    /// Gives handles these counts, whatever they said before. The blocks of a handle that was not known are read again:
    /// it may hold addresses that this process has not seen. False when that is so, or when others keep changing it.
    ///
    /// - Parameter touching: handles to be written even if their counts are right. The collector deletes a handle
    ///   without addresses only as it was when it looked; one that an earlier ADD left must not look like that any more.
    func write(_ wanted: [IPAMHandle], touching: Set<String> = []) async throws -> [Bool] {
        let write = handleWrite(wanted, touching: touching)
        return try await take(write, try await apply(write.changes)[...], wanted)
    }

    /// Changes of handles, and which of those that are wanted they are of.
    typealias HandleWrite = (changes: [IPAMChange], places: [Int])

    func handleWrite(_ wanted: [IPAMHandle], touching: Set<String>) -> HandleWrite {
        var write: HandleWrite = ([], [])
        for (index, handle) in wanted.enumerated() {
            let known = handles[handle.handleID]
            if let known, known.blocks == handle.blocks, !touching.contains(handle.handleID) { continue }
            var handle = handle
            if let known {
                handle.object = known.object
                // A write that changes nothing would leave the version as it is.
                if known.blocks == handle.blocks {
                    handle.object.metadata["annotations"]["catbird.dev/wanted-again"] = JSON("\(time)")
                }
            }
            write.changes.append(IPAMChange(writing: .ipamHandles, handle.encoded()))
            write.places.append(index)
        }
        return write
    }

    func take(
        _ write: HandleWrite, _ outcomes: ArraySlice<IPAMOutcome>, _ wanted: [IPAMHandle]
    ) async throws -> [Bool] {
        var results = Array(repeating: true, count: wanted.count)
        for (index, outcome) in zip(write.places, outcomes) {
            let handleID = wanted[index].handleID
            if let object = outcome.object {
                handles[handleID] = IPAMHandle(object)
            } else {
                results[index] = false
                if let handle = try await reread(handleID) { try await fence(handle) }
            }
        }
        return results
    }

    /// A handle that counts addresses which its blocks do not have was written by a process that died: its write of the
    /// block may still be on its way. A new version of the block makes that write fail, so that the handle does not get
    /// a second address by it.
    private func fence(_ handle: IPAMHandle) async throws {
        let held = Set(view.networks(ofHandle: handle.handleID))
        let changes = handle.blocks.keys.sorted().compactMap { CIDR($0) }.filter { !held.contains($0) }
            .compactMap { view.snapshot.blocks[$0] }
            .map { IPAMChange(.update, .ipamBlocks, $0.encodedForWrite()) }
        _ = try await apply(changes)
    }

    /// Reads a handle and the blocks that it names.
    @discardableResult
    func reread(_ handleID: String) async throws -> IPAMHandle? {
        vouched.remove(handleID)
        guard let object = try await store.get(.ipamHandles, IPAMNames.handle(handleID)) else {
            handles[handleID] = nil
            return nil
        }
        let handle = IPAMHandle(object)
        handles[handleID] = handle
        for text in handle.blocks.keys.sorted() {
            guard let cidr = CIDR(text) else { continue }
            try await refresh(.ipamBlocks, IPAMNames.block(cidr))
        }
        return handle
    }

    /// Marks a block deleted, which only succeeds if nobody took an address meanwhile, then deletes it. False when it
    /// has to be looked at again.
    func delete(_ block: IPAMBlock) async throws -> Bool {
        guard !block.object.resourceVersion.isEmpty else { return true }
        var marked = block.object
        if !block.isDeleted {
            var block = block
            block.isDeleted = true
            switch try await apply([IPAMChange(.update, .ipamBlocks, block.encodedForWrite())]).first {
            case .written(let object): marked = object
            case .notFound: return true
            default: return false
            }
        }
        switch try await apply([IPAMChange(.delete, .ipamBlocks, marked)]).first {
        case .deleted, .notFound: return true
        default: return false
        }
    }

    /// Deletes a handle if it is still the one that is known; what is not there is no error.
    func deleteHandles(_ handleIDs: [String]) async throws {
        for handleID in handleIDs where handles[handleID] == nil { try await reread(handleID) }
        var open = handleIDs.filter { handles[$0] != nil }
        for _ in 0..<Self.attempts where !open.isEmpty {
            let changes = open.compactMap { handles[$0] }.map { IPAMChange(.delete, .ipamHandles, $0.object) }
            var again: [String] = []
            for (handleID, outcome) in zip(open, try await apply(changes)) {
                switch outcome {
                case .deleted, .notFound: handles[handleID] = nil
                default: if try await reread(handleID) != nil { again.append(handleID) }
                }
            }
            open = again
        }
        if let handleID = open.first { throw Contention(subject: "handle \(handleID)") }
    }
}
