// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import NetworkModel
import Synchronization
import Values

/// What is really so in a simulated cluster: which nodes and sandboxes there are, and what they were answered.
final class Truth: Sendable {
    enum Phase: Sendable {
        /// ADD has not answered, or its answer was lost: to be repeated, or deleted.
        case adding
        case live
        /// ADD failed or DEL was asked for: DEL until it succeeds.
        case deleting
    }

    struct Sandbox: Sendable {
        let handleID: String
        let node: String
        var phase = Phase.adding
        var addresses: [IPAddress] = []
    }

    struct State {
        var sandboxes: [String: Sandbox] = [:]
        var nodes: Set<String> = []
        var now = Timestamp(seconds: 1_800_000_000)
        var late: [[IPAMChange]] = []
        var violations: [String] = []
        var counts: [String: Int] = [:]
    }

    private let state = Mutex(State())

    func withLock<Result>(_ body: (inout State) -> Result) -> Result where Result: Sendable {
        state.withLock { body(&$0) }
    }

    /// Notes the answer to an ADD.
    func answered(_ handleID: String, _ addresses: [IPAddress]) {
        state.withLock { state in
            guard var sandbox = state.sandboxes[handleID] else { return }
            for other in state.sandboxes.values
            where other.handleID != handleID && other.phase == .live
                && !Set(other.addresses).isDisjoint(with: addresses)
            {
                state.violations.append("doubled: \(addresses) of \(other.handleID) was given to \(handleID)")
            }
            if sandbox.phase == .live, sandbox.addresses != addresses {
                state.violations.append("moved: \(handleID) had \(sandbox.addresses) and was answered \(addresses)")
            }
            sandbox.phase = .live
            sandbox.addresses = addresses
            state.sandboxes[handleID] = sandbox
        }
    }

    func set(_ handleID: String, _ phase: Phase?) {
        state.withLock { state in
            if let phase { state.sandboxes[handleID]?.phase = phase } else { state.sandboxes[handleID] = nil }
        }
    }

    func count(_ what: String, _ number: Int = 1) { state.withLock { $0.counts[what, default: 0] += number } }

    /// The pods as the API has them.
    var pods: [PodUse] {
        state.withLock { state in
            state.sandboxes.values.map {
                PodUse(
                    ObjectKey("default", $0.handleID), node: $0.node, addresses: $0.phase == .live ? $0.addresses : [])
            }
        }
    }
}
