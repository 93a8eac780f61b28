// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Values

/// The IPAMConfig named `default`; without the object Calico's defaults hold.
public struct IPAMConfig: Sendable, Hashable {
    public var strictAffinity = false
    public var autoAllocateBlocks = true
    /// How many blocks a node may own.
    public var maxBlocksPerHost = 20

    public init() {}

    public init(_ object: KubeObject) {
        let spec = object["spec"]
        strictAffinity = spec["strictAffinity"].bool ?? false
        autoAllocateBlocks = spec["autoAllocateBlocks"].bool ?? true
        if let limit = spec["maxBlocksPerHost"].int, limit > 0 { maxBlocksPerHost = limit }
    }
}
