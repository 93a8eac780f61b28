// SPDX-License-Identifier: Apache-2.0

/// The versions of the CNI specification that Catbird speaks, oldest first.
public enum CNIVersion: String, Sendable, Hashable, CaseIterable, Comparable, CustomStringConvertible {
    case v0_3_0 = "0.3.0"
    case v0_3_1 = "0.3.1"
    case v0_4_0 = "0.4.0"
    case v1_0_0 = "1.0.0"
    case v1_1_0 = "1.1.0"

    public static let newest = CNIVersion.v1_1_0

    public var description: String { rawValue }

    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    public static func < (left: CNIVersion, right: CNIVersion) -> Bool { left.rank < right.rank }

    /// Reads a `cniVersion` member; a version that is not spoken here is refused with the list of those that are.
    public init(parsing text: String) throws(CNIError) {
        guard let version = CNIVersion(rawValue: text) else {
            throw CNIError(
                .incompatibleVersion, "cniVersion \"\(text)\" is not supported",
                details: "supported are \(Self.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        self = version
    }

    /// Addresses carry a `version` member ("4" or "6") in results before 1.0.0.
    var addressesNameTheirVersion: Bool { self < .v1_0_0 }
}
