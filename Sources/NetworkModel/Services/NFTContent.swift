// SPDX-License-Identifier: Apache-2.0

/// What an nftables table should hold: sets, maps and chains with their rules, as values that can be compared.
public struct NFTContent: Sendable, Equatable {
    public struct Set: Sendable, Equatable {
        /// `set` or `map`
        public let keyword: String
        /// What stands between the braces apart from the elements: `type ipv4_addr; flags interval;`
        public let declaration: String
        /// Keys, and for maps what they lead to.
        public var elements: [String: String]

        public init(set declaration: String, _ elements: some Sequence<String> = []) {
            keyword = "set"
            self.declaration = declaration
            self.elements = Dictionary(elements.map { ($0, "") }, uniquingKeysWith: { first, _ in first })
        }

        public init(map declaration: String, _ elements: [String: String] = [:]) {
            keyword = "map"
            self.declaration = declaration
            self.elements = elements
        }
    }

    public struct Chain: Sendable, Equatable {
        /// The hook of a base chain: `type nat hook prerouting priority dstnat;`, nil for others.
        public let hook: String?
        public var rules: [String]

        public init(hook: String? = nil, _ rules: [String] = []) {
            self.hook = hook
            self.rules = rules
        }
    }

    public let table: String
    public var sets: [String: Set] = [:]
    public var chains: [String: Chain] = [:]

    /// `table` with its family: `ip catbird`.
    public init(table: String) { self.table = table }
}

extension NFTContent {
    /// Commands that make the table what this says, whatever it held: one transaction, so that no packet meets a
    /// table half made.
    public var replacement: [String] {
        ["add table \(table)", "delete table \(table)", "add table \(table)"]
            + NFTContent(table: table).changes(to: self)
    }

    /// Commands that turn this into `new`, touching only what differs, in an order in which each finds what it needs.
    public func changes(to new: NFTContent) -> [String] {
        var commands: [String] = []
        let freshChains = new.chains.filter { $0.value.hook != chains[$0.key]?.hook || chains[$0.key] == nil }
        let goneSets = sets.filter { new.sets[$0.key]?.declaration != $0.value.declaration }
        for name in freshChains.keys.sorted() {
            let hook = new.chains[name]?.hook
            if chains[name] != nil {
                commands += ["flush chain \(table) \(name)", "delete chain \(table) \(name)"]
            }
            commands.append("add chain \(table) \(name)" + (hook.map { " { \($0) }" } ?? ""))
        }
        for (name, set) in new.sets.sorted(by: { $0.key < $1.key }) where sets[name]?.declaration != set.declaration {
            commands.append("add \(set.keyword) \(table) \(name) { \(set.declaration) }")
        }
        // Rules of chains that go away are emptied first, so that nothing refers to what is deleted below.
        let goneChains = chains.keys.filter { new.chains[$0] == nil }.sorted()
        for (name, set) in sets.sorted(by: { $0.key < $1.key }) {
            guard let next = new.sets[name], next.declaration == set.declaration else { continue }
            let dead = set.elements.filter { next.elements[$0.key] != $0.value }.keys.sorted()
            commands += Self.batches(dead).map { "delete element \(table) \(name) { \($0.joined(separator: ", ")) }" }
        }
        for (name, chain) in new.chains.sorted(by: { $0.key < $1.key }) {
            let isFresh = freshChains[name] != nil
            guard isFresh || chains[name]?.rules != chain.rules else { continue }
            if !isFresh { commands.append("flush chain \(table) \(name)") }
            commands += chain.rules.map { "add rule \(table) \(name) \($0)" }
        }
        for (name, set) in new.sets.sorted(by: { $0.key < $1.key }) {
            let known = sets[name].flatMap { $0.declaration == set.declaration ? $0.elements : nil } ?? [:]
            let fresh = set.elements.filter { known[$0.key] != $0.value }.sorted { $0.key < $1.key }
            let texts = fresh.map { $0.value.isEmpty ? $0.key : "\($0.key) : \($0.value)" }
            commands += Self.batches(texts).map { "add element \(table) \(name) { \($0.joined(separator: ", ")) }" }
        }
        for name in goneChains { commands.append("flush chain \(table) \(name)") }
        for name in goneChains { commands.append("delete chain \(table) \(name)") }
        for (name, set) in goneSets.sorted(by: { $0.key < $1.key }) where new.sets[name] == nil {
            commands.append("delete \(set.keyword) \(table) \(name)")
        }
        return commands
    }

    private static func batches(_ items: [String]) -> [ArraySlice<String>] {
        stride(from: 0, to: items.count, by: 500).map { items[$0..<min($0 + 500, items.count)] }
    }
}
