// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import NetworkModel
import Values

/// What `catbird ipam check --fix` did about one finding.
struct AddressRepair: Sendable {
    let finding: IPAMCheck.Finding
    let isDone: Bool

    var sentence: String {
        isDone ? "Mended: \(finding.sentence)" : "Not mended, it changed in the meantime: \(finding.sentence)"
    }

    var json: JSON {
        var result = finding.json
        result["done"] = JSON(isDone)
        return result
    }

    /// Mends what a program may decide, and checks again: mended blocks may settle or show other findings.
    static func mend(_ findings: [IPAMCheck.Finding], _ client: KubeClient) async throws -> (
        repairs: [AddressRepair], left: [IPAMCheck.Finding]
    ) {
        let book = AddressBook(store: ListedStore(client: client), node: "catbird-ipam-check")
        var left = findings
        var repairs: [AddressRepair] = []
        for _ in 1...3 {
            let mendable = left.filter { if case .byHand = $0.repair { false } else { true } }
            guard !mendable.isEmpty else { break }
            for finding in mendable {
                repairs.append(AddressRepair(finding: finding, isDone: try await book.repair(finding.repair)))
            }
            left = IPAMCheck.check(try await ClusterAddresses(client).world, now: .now)
        }
        return (repairs, left)
    }
}
