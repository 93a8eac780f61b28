// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import NetworkModel
import Values

extension AddressBook {
    func performReleases(_ jobs: [([String], CheckedContinuation<[IPAddress], any Error>)]) async {
        var freed: [String: [IPAddress]] = [:]
        do {
            var open = Set(jobs.flatMap(\.0))
            for _ in 0..<Self.attempts where !open.isEmpty { open = try await releaseOnce(open, &freed) }
            guard open.isEmpty else { throw Contention(subject: "\(open.count) handle(s) to be released") }
            // The handle goes last: while an address is held there is a handle to find it by.
            let names = Set(jobs.flatMap(\.0))
            for name in names { handles[name] = nil }
            let client = client
            try await withThrowingTaskGroup(of: Void.self) { group in
                for name in names {
                    group.addTask {
                        do { try await client.delete(.ipamHandles, IPAMNames.handle(name)) } catch let error as APIError
                            where error.isNotFound
                        {}
                    }
                }
                try await group.waitForAll()
            }
        } catch {
            for (_, continuation) in jobs { continuation.resume(throwing: error) }
            return
        }
        for (names, continuation) in jobs { continuation.resume(returning: names.flatMap { freed[$0] ?? [] }) }
    }

    /// Writes every block that one of the handles has addresses in; those whose block changed meanwhile are returned.
    private func releaseOnce(
        _ handleIDs: Set<String>, _ freed: inout [String: [IPAddress]]
    ) async throws -> Set<String> {
        var again: Set<String> = []
        for (_, before) in snapshot().blocks.sorted(by: { $0.key < $1.key }) {
            var block = before
            var found: [String: [IPAddress]] = [:]
            for handleID in handleIDs {
                let addresses = block.ordinals(ofHandle: handleID).compactMap { block.address(at: $0) }
                guard !addresses.isEmpty else { continue }
                found[handleID] = addresses
                block.release(handleID: handleID)
            }
            guard !found.isEmpty else { continue }
            let isDone: Bool
            if block.isEmpty, block.affinity == nil {
                isDone = try await delete(block)
            } else {
                isDone = try await write(block)
            }
            if isDone {
                for (handleID, addresses) in found { freed[handleID, default: []] += addresses }
            } else {
                again.formUnion(found.keys)
            }
        }
        return again
    }

    /// Marks the block deleted, which only succeeds if nobody took an address meanwhile, then deletes it.
    private func delete(_ block: IPAMBlock) async throws -> Bool {
        var block = block
        block.isDeleted = true
        guard !block.object.resourceVersion.isEmpty else { return true }
        let marked: KubeObject
        do {
            marked = try await client.update(.ipamBlocks, block.encodedForWrite())
        } catch let error as APIError where error.isConflict || error.isNotFound {
            try await refreshBlock(block)
            return error.isNotFound
        }
        ownBlocks.note(marked)
        do {
            try await client.delete(
                .ipamBlocks, marked.name, uid: marked.uid, resourceVersion: marked.resourceVersion)
        } catch let error as APIError where error.isNotFound || error.isConflict {
            try await refreshBlock(block)
            return true
        }
        ownBlocks.noteDeletion(marked)
        return true
    }

    func performTidying(_ jobs: [CheckedContinuation<Void, any Error>]) async {
        let result: Result<Void, any Error>
        do {
            let snapshot = snapshot()
            for claim in AddressRelease.uselessClaims(of: node, snapshot) {
                try await give(up: claim, snapshot.blocks[claim.cidr])
            }
            // What was marked deleted by somebody who died before deleting it.
            for block in snapshot.blocks.values where block.isDeleted && block.isEmpty { _ = try await delete(block) }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        for job in jobs { job.resume(with: result) }
    }

    private func give(up claim: BlockAffinity, _ block: IPAMBlock?) async throws {
        var claim = claim
        do {
            if claim.state != .pendingDeletion {
                claim.state = .pendingDeletion
                claim = try BlockAffinity(try await client.update(.blockAffinities, claim.encoded()))
                ownAffinities.note(claim.object)
            }
            if let block, block.node == node, block.isEmpty {
                guard try await delete(block) else { return }
            }
            try await client.delete(.blockAffinities, claim.name, uid: claim.object.uid)
            ownAffinities.noteDeletion(claim.object)
            logger.info("block \(claim.cidr) is given up: it is empty, and no pool wants node \(node) to have it")
        } catch let error as APIError where error.isConflict || error.isNotFound {
            try await refreshAffinity(claim.name)
        }
    }
}
