// SPDX-License-Identifier: Apache-2.0

public import Values

/// What VERSION prints.
public struct PluginVersions: Sendable, Hashable {
    public let supported: [String]

    public init(supported: [CNIVersion] = CNIVersion.allCases) { self.supported = supported.map(\.rawValue) }

    /// Nil unless `json` lists versions.
    public init?(_ json: JSON) {
        guard let versions = json["supportedVersions"].array?.compactMap(\.string) else { return nil }
        supported = versions
    }

    /// `asked` is the `cniVersion` of the request, which the answer repeats.
    public func json(asked: String?) -> JSON {
        ["cniVersion": JSON(asked ?? CNIVersion.newest.rawValue), "supportedVersions": JSON(supported)]
    }
}
