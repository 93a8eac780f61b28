// SPDX-License-Identifier: Apache-2.0

import Values

/// The query of a request: names and values, percent-decoded, in the order they were written.
public struct QueryItems: Sendable {
    public let items: [(name: String, value: String)]

    public init(_ items: [(name: String, value: String)]) { self.items = items }

    /// Reads `a=1&b=x%20y`; a name without `=` has an empty value. Nil when an escape is broken.
    public init?(parsing query: some StringProtocol) {
        var items: [(name: String, value: String)] = []
        for part in query.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = PercentCoding.decoded(pair[0], plusIsSpace: true),
                let value = pair.count == 2 ? PercentCoding.decoded(pair[1], plusIsSpace: true) : ""
            else { return nil }
            items.append((name, value))
        }
        self.items = items
    }

    public var isEmpty: Bool { items.isEmpty }

    /// The first value of that name.
    public subscript(name: String) -> String? { items.first { $0.name == name }?.value }

    /// Every value of that name, in order.
    public func all(_ name: String) -> [String] { items.filter { $0.name == name }.map(\.value) }

    /// As a boolean; nil when absent.
    public func bool(_ name: String) -> Bool? { self[name].map { Bool(queryValue: $0) } }
}
