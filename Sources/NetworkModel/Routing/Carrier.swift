// SPDX-License-Identifier: Apache-2.0

import Values

/// In what a pool's packets travel between nodes.
public enum Carrier: Sendable, Hashable {
    /// As they are.
    case none
    case vxlan(EncapsulationMode)
    /// Of IPv4 alone, and only where the kernel has it.
    case ipip(EncapsulationMode)
}

extension IPPool {
    /// How traffic to the pool's addresses is carried. Where the kernel has no IP in IP, VXLAN takes its place with the
    /// same mode; `encapsulationNote` says so where it can be seen.
    public func carrier(kernelHasIPIP: Bool) -> Carrier {
        if vxlanMode != .never { return .vxlan(vxlanMode) }
        guard ipipMode != .never else { return .none }
        return kernelHasIPIP && cidr.family == .v4 ? .ipip(ipipMode) : .vxlan(ipipMode)
    }

    /// What the pool tells about its encapsulation; nil when it is carried as asked.
    public func encapsulationNote(kernelHasIPIP: Bool) -> String? {
        guard vxlanMode == .never, ipipMode != .never else { return nil }
        if kernelHasIPIP, cidr.family == .v4 { return nil }
        let cause = kernelHasIPIP ? "IP in IP carries IPv4 alone" : "the kernel has no ipip module"
        let overhead = MTUPlan.vxlanOverhead(cidr.family)
        return
            "ipipMode \(ipipMode.rawValue) is carried by VXLAN (same mode, overhead \(overhead) bytes instead of 20): \(cause)"
    }
}
