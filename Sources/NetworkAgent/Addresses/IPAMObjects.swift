// SPDX-License-Identifier: Apache-2.0

public import KubeObjects

/// The objects that addresses are decided from, as last seen.
public struct IPAMObjects: Sendable {
    public var pools: [KubeObject]
    public var blocks: [KubeObject]
    public var affinities: [KubeObject]
    public var nodes: [KubeObject]
    /// The IPAMConfig named `default`.
    public var config: KubeObject?

    public init(
        pools: [KubeObject] = [], blocks: [KubeObject] = [], affinities: [KubeObject] = [], nodes: [KubeObject] = [],
        config: KubeObject? = nil
    ) {
        self.pools = pools
        self.blocks = blocks
        self.affinities = affinities
        self.nodes = nodes
        self.config = config
    }
}

/// What this process wrote or fetched itself, laid over what the watch has brought so far: whichever is newer counts.
struct OwnWrites {
    private struct Entry {
        let version: Int64
        /// Nil when it was deleted.
        let object: KubeObject?
    }

    private var entries: [String: Entry] = [:]

    /// Versions grow with time; one that is not a number counts as older than any.
    private static func version(_ object: KubeObject) -> Int64 { Int64(object.resourceVersion) ?? 0 }

    mutating func note(_ object: KubeObject) {
        let version = Self.version(object)
        if let known = entries[object.name], known.version > version { return }
        entries[object.name] = Entry(version: version, object: object)
    }

    /// `object` as it was before it was deleted.
    mutating func noteDeletion(_ object: KubeObject) {
        entries[object.name] = Entry(version: Self.version(object), object: nil)
    }

    /// The objects by name; entries that the watch has caught up with are dropped.
    mutating func merge(_ watched: [KubeObject]) -> [String: KubeObject] {
        var result = Dictionary(watched.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        for (name, entry) in entries {
            let seen = result[name].map(Self.version)
            if let object = entry.object {
                if let seen, seen >= entry.version {
                    entries[name] = nil
                } else {
                    // Not seen at all: written and not yet watched, or deleted by another in between. A write that
                    // assumes the former fails by its version, and the object is fetched anew.
                    result[name] = object
                }
            } else if let seen, seen > entry.version {
                entries[name] = nil
            } else if seen == nil {
                entries[name] = nil
            } else {
                result[name] = nil
            }
        }
        return result
    }

    /// Forgets an object that turned out to be gone.
    mutating func forget(_ name: String) { entries[name] = nil }
}
