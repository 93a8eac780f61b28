// SPDX-License-Identifier: Apache-2.0
import Values

/// What a table of nftables holds, in nft's own words, so that two can be compared.
public struct NFTablesContent: Sendable, Hashable {
    /// `chain input`, `set open-ports` …: how it is declared, and its rules in their order or its elements.
    private var parts: [String: [String]] = [:]

    /// Where this differs from what should be there, as `chain input`, sorted.
    public func differences(from expected: NFTablesContent) -> [String] {
        Set(parts.keys).union(expected.parts.keys).filter { parts[$0] != expected.parts[$0] }.sorted()
    }

    fileprivate init(listing: [JSON], withoutElements: Set<String>) {
        for entry in listing.compactMap(\.object?.members.first) {
            guard var object = entry.value.object else { continue }
            object["handle"] = nil
            let name = object["name"]?.string ?? ""
            let part: String
            switch entry.key {
            case "metainfo", "table": continue
            case "rule": part = "chain \(object["chain"]?.string ?? "")"
            default: part = "\(entry.key) \(name)"
            }
            if withoutElements.contains(name) { object["elem"] = nil }
            parts[part, default: []].append(String(decoding: JSON.object(object).serialized(), as: UTF8.self))
        }
    }
}

extension NFTables {
    /// What a table holds; nil when it is not there.
    ///
    /// - Parameters:
    ///   - table: as `ip catbird`.
    ///   - withoutElements: sets that others fill: what is in them does not count.
    public mutating func content(of table: String, withoutElements: Set<String> = []) throws -> NFTablesContent? {
        let words = table.split(separator: " ").map(String.init)
        guard words.count == 2, try tables(family: words[0]).contains(where: { $0.name == words[1] }) else {
            return nil
        }
        return NFTablesContent(listing: try list("list table \(table)"), withoutElements: withoutElements)
    }

    /// What a table would hold after `commands` ran where nothing was before: they run in a network namespace that is
    /// made for it and ends with it, so that both sides of a comparison are in the kernel's words.
    public static func content(
        of table: String, madeBy commands: String, withoutElements: Set<String> = []
    ) throws -> NFTablesContent? {
        try Namespaces.inNew([.net]) {
            var tables = try NFTables()
            try tables.run(commands)
            return try tables.content(of: table, withoutElements: withoutElements)
        }
    }
}
