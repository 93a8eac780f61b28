// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Values

/// The IPAMConfig named `default`; without the object Calico's defaults hold.
public struct IPAMConfig: Sendable, Hashable {
    public var strictAffinity = false
    public var autoAllocateBlocks = true
    /// How many blocks a node may own of the pools that a request may use.
    public var maxBlocksPerHost = 20
    /// Seconds (0 to 1200) that an address given back is not given out again.
    public var cooldownSeconds = 0
    /// `kubeVirtVMAddressPersistence`: a virtual machine keeps its address while it moves.
    public var keepsVirtualMachineAddresses = true

    public init() {}

    public init(_ object: KubeObject) {
        let spec = object["spec"]
        strictAffinity = spec["strictAffinity"].bool ?? false
        autoAllocateBlocks = spec["autoAllocateBlocks"].bool ?? true
        if let limit = spec["maxBlocksPerHost"].int, limit > 0 { maxBlocksPerHost = limit }
        if let seconds = spec["ipCooldownSeconds"].int { cooldownSeconds = min(1200, max(0, seconds)) }
        keepsVirtualMachineAddresses = spec["kubeVirtVMAddressPersistence"].string != "Disabled"
    }
}
