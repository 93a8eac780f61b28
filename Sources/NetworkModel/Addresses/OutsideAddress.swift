// SPDX-License-Identifier: Apache-2.0

public import Values

/// Addresses that IPAM is to have nothing to do with (annotation `ipAddrsNoIpam`): taken as they are, unless somebody
/// has them, or may get them.
public enum OutsideAddress {
    /// Why such an address cannot be had: what is asked for, and by whom it is or may be taken.
    public struct Refusal: Error, Sendable, Hashable, CustomStringConvertible {
        public let description: String
        public let nextStep: String
    }

    /// Nil when the address is free for the taking.
    public static func refusal(_ address: IPAddress, _ snapshot: IPAMSnapshot) -> Refusal? {
        let pool = snapshot.pools.first {
            !$0.isDisabled && $0.cidr.contains(address) && !snapshot.reserved.contains(address)
        }
        if let pool {
            return Refusal(
                description:
                    "annotation \(CalicoKeys.ipAddressesWithoutIPAM) asks for \(address), which pool \(pool.name) (\(pool.cidr)) may give to another pod",
                nextStep: "use \(CalicoKeys.ipAddresses), or keep the address from the pool with an IPReservation")
        }
        if let block = snapshot.blocks.block(containing: address),
            let holder = block.ordinal(of: address).flatMap(block.attribute)
        {
            return Refusal(
                description:
                    "annotation \(CalicoKeys.ipAddressesWithoutIPAM) asks for \(address), which handle \(holder.handleID ?? "(none)") holds",
                nextStep: "catbird explain ip \(address)")
        }
        return nil
    }
}
