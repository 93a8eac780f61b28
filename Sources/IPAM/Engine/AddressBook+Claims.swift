// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
import NetworkModel
import Values

extension AddressBook {
    /// Makes good what was written down, and gives up the node's empty blocks that no pool wants it to have.
    public func tidy() async throws {
        try await replay()
        let node = node
        try await perform { book in
            book.view.take(from: book.store, now: book.time)
            for claim in AddressRelease.uselessClaims(of: node, book.view.snapshot) {
                _ = try await book.give(up: claim)
            }
            // What was marked deleted by somebody who died before deleting it.
            for block in book.view.snapshot.blocks.values where block.isDeleted && block.isEmpty {
                _ = try await book.delete(block)
            }
        }
    }

    /// Marks the claim, deletes the empty block, then the claim; left as it is, with false, when somebody uses the block.
    func give(up claim: BlockAffinity) async throws -> Bool {
        var claim = claim
        if claim.state != .pendingDeletion {
            claim.state = .pendingDeletion
            guard
                let object = try await apply([IPAMChange(.update, .blockAffinities, claim.encoded())]).first?.object,
                let written = try? BlockAffinity(object)
            else { return false }
            claim = written
        }
        if let block = view.snapshot.blocks[claim.cidr], block.owner == claim.owner {
            guard block.isEmpty, try await delete(block) else { return false }
        }
        guard case .deleted? = try await apply([IPAMChange(.delete, .blockAffinities, claim.object)]).first else {
            return false
        }
        logger.info("the empty block \(claim.cidr) is not \(claim.node)'s any more")
        return true
    }
}
