// SPDX-License-Identifier: Apache-2.0

/// Says why no node took a pod, in the words that users of Kubernetes search for.
package enum FitMessage {
    package static let noNodes = "no nodes available to schedule pods"

    package static func text(_ rejections: [Rejection], preemption: Attempt) -> String {
        let total = rejections.count
        if total == 0 { return noNodes }
        let first = sentence(total, rejections.flatMap(\.reasons))
        switch preemption {
        case .forbidden: return "\(first) preemption: not eligible due to preemptionPolicy=Never."
        case .underWay: return "\(first) preemption: not eligible due to a terminating pod on the nominated node."
        case .done: return first
        case .tried:
            let reasons = rejections.map {
                $0.preemptionMayHelp
                    ? "No preemption victims found for incoming pod" : "Preemption is not helpful for scheduling"
            }
            return "\(first) preemption: \(sentence(total, reasons))"
        }
    }

    package enum Attempt: Sendable { case tried, forbidden, underWay, done }

    private static func sentence(_ total: Int, _ reasons: [String]) -> String {
        var counts: [String: Int] = [:]
        for reason in reasons { counts[reason, default: 0] += 1 }
        let list = counts.map { "\($0.value) \($0.key)" }.sorted().joined(separator: ", ")
        return "0/\(total) nodes are available: \(list)."
    }
}
