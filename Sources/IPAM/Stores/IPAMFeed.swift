// SPDX-License-Identifier: Apache-2.0

public import KubeClient
public import KubeObjects
import Values

/// What a reader has not heard yet of the objects that addresses are decided from.
public struct IPAMNews: Sendable {
    public struct Change: Sendable {
        public let resource: GroupVersionResource
        /// As it is now, or as it was last seen.
        public let object: KubeObject
        public let isDeletion: Bool

        public init(_ resource: GroupVersionResource, _ object: KubeObject, isDeletion: Bool = false) {
            self.resource = resource
            self.object = object
            self.isDeletion = isDeletion
        }
    }

    /// At most one an object and deletion; of the first news everything that there is.
    public var changes: [Change]
    /// The versions that the watches of blocks and of claims have come to: what was written before and is not shown is
    /// no more. 0 when that is not known.
    public var blocksReached: Int64
    public var claimsReached: Int64

    public init(changes: [Change] = [], blocksReached: Int64 = 0, claimsReached: Int64 = 0) {
        self.changes = changes
        self.blocksReached = blocksReached
        self.claimsReached = claimsReached
    }
}

/// Tells one reader what changes of a store's objects, so that it need not look at all of them.
public protocol IPAMFeed: Sendable {
    /// What changed since the last time, the first time everything.
    func news() -> IPAMNews
    /// Whether the store's watch shows an object of the name now.
    func shows(_ resource: GroupVersionResource, _ name: String) -> Bool
}

/// The news of informers that somebody else runs.
public final class InformerFeed: IPAMFeed {
    private let readers: [(resource: GroupVersionResource, reader: InformerReader)]

    /// - Parameter informers: those of pools, blocks, claims, nodes, reservations and configurations.
    public init(_ informers: [Informer]) { readers = informers.map { ($0.resource, $0.reader()) } }

    public func news() -> IPAMNews {
        var news = IPAMNews()
        for (resource, reader) in readers {
            let (events, version) = reader.take()
            for event in events {
                news.changes.append(IPAMNews.Change(resource, event.object, isDeletion: event.isDeletion))
            }
            switch resource {
            case .ipamBlocks: news.blocksReached = Int64(version) ?? 0
            case .blockAffinities: news.claimsReached = Int64(version) ?? 0
            default: break
            }
        }
        return news
    }

    public func shows(_ resource: GroupVersionResource, _ name: String) -> Bool {
        readers.first { $0.resource == resource }?.reader.informer[nil, name] != nil
    }
}
