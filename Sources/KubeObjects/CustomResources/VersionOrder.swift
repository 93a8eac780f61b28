// SPDX-License-Identifier: Apache-2.0

/// The order in which the versions of a group are preferred: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then
/// names of any other form by the alphabet.
///
/// Source: Kubernetes' documentation, "Versions in CustomResourceDefinitions", version priority.
struct VersionOrder: Comparable {
    private let name: String
    /// 3 for a general version, 2 for beta, 1 for alpha, 0 for any other name.
    private let stage: Int
    private let major: Int
    private let minor: Int

    init(_ name: String) {
        self.name = name
        var rest = Substring(name)
        func number() -> Int? {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            return Int(digits).flatMap { $0 > 0 ? $0 : nil }
        }
        var parsed = (stage: 0, major: 0, minor: 0)
        if rest.first == "v" {
            rest = rest.dropFirst()
            if let major = number() {
                if rest.isEmpty { parsed = (3, major, 0) }
                for (word, stage) in [("alpha", 1), ("beta", 2)] where rest.hasPrefix(word) {
                    rest = rest.dropFirst(word.count)
                    if let minor = number(), rest.isEmpty { parsed = (stage, major, minor) }
                    break
                }
            }
        }
        (stage, major, minor) = parsed
    }

    /// Whether the left version is preferred to the right one.
    static func < (left: VersionOrder, right: VersionOrder) -> Bool {
        if left.stage != right.stage { return left.stage > right.stage }
        if left.major != right.major { return left.major > right.major }
        if left.minor != right.minor { return left.minor > right.minor }
        return left.name < right.name
    }
}
