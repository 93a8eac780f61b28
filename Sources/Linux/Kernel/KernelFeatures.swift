// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// What this kernel can do, found out by doing it in a namespace that ends at once.
public struct KernelFeatures: Sendable, Hashable {
    public enum Feature: String, Sendable, Hashable, CaseIterable {
        case veth, bridge, vxlan, dummy, ipip, nftables, overlay
    }

    public let available: Set<Feature>
    /// Of the missing ones, what the kernel said.
    public let reasons: [Feature: String]

    public func has(_ feature: Feature) -> Bool { available.contains(feature) }

    /// Tries everything. Without the rights to make namespaces it throws.
    ///
    /// - Parameter wanted: which are tried; the others are not told to be there.
    public static func probe(_ wanted: [Feature] = Feature.allCases) throws -> KernelFeatures {
        try Namespaces.inNew(wanted.contains(.overlay) ? [.net, .mount] : [.net]) {
            var available: Set<Feature> = []
            var reasons: [Feature: String] = [:]
            for feature in wanted {
                do {
                    try attempt(feature)
                    available.insert(feature)
                } catch {
                    reasons[feature] = "\(error)"
                }
            }
            return KernelFeatures(available: available, reasons: reasons)
        }
    }

    private static func attempt(_ feature: Feature) throws {
        switch feature {
        case .veth: try NetlinkSocket().addVeth("probe0", peer: "probe1")
        case .bridge: try NetlinkSocket().addBridge("probe2")
        case .vxlan: try NetlinkSocket().addVXLAN("probe3", VXLAN(id: 4096))
        case .dummy: try NetlinkSocket().addDummy("probe5")
        case .ipip: try NetlinkSocket().add("probe4", kind: "ipip", LinkOptions(), "ipip probe4")
        case .nftables:
            var tables = try NFTables()
            try tables.run("add table ip probe\nadd chain ip probe nat { type nat hook postrouting priority 100; }\n")
        case .overlay:
            let folder = "/tmp"
            try Mounts.tmpfs(onto: folder)
            for name in ["lower", "upper", "work", "merged"] { try Files.makeDirectories("\(folder)/\(name)") }
            try Mounts.overlay(
                lower: ["\(folder)/lower"], upper: "\(folder)/upper", work: "\(folder)/work", onto: "\(folder)/merged")
        }
    }
}
