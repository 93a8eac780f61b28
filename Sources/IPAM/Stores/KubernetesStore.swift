// SPDX-License-Identifier: Apache-2.0

public import KubeClient
public import KubeObjects

/// IPAM objects in the Kubernetes API, read from watches that somebody else keeps running.
public struct WatchedStore: IPAMStore {
    private let client: KubeClient
    private let read: @Sendable () -> IPAMObjects
    private let readRevision: @Sendable () -> String?
    private let makeFeed: @Sendable () -> (any IPAMFeed)?

    /// - Parameters:
    ///   - revision: changes whenever what `read` answers does.
    ///   - read: the objects as the watches know them.
    public init(
        client: KubeClient, revision: @escaping @Sendable () -> String? = { nil },
        read: @escaping @Sendable () -> IPAMObjects
    ) {
        self.client = client
        self.read = read
        readRevision = revision
        makeFeed = { nil }
    }

    /// - Parameter feed: makes a feed for each who reads: nobody walks over all objects.
    public init(client: KubeClient, feed: @escaping @Sendable () -> any IPAMFeed) {
        self.client = client
        makeFeed = feed
        read = {
            var objects = IPAMObjects()
            for change in feed().news().changes where !change.isDeletion { objects.add(change.resource, change.object) }
            return objects
        }
        readRevision = { nil }
    }

    public var revision: String? { readRevision() }
    public var objects: IPAMObjects { read() }
    public func feed() -> (any IPAMFeed)? { makeFeed() }

    public func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject? {
        try await client.find(resource, name)
    }

    public func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] { try await client.apply(changes) }
}

/// IPAM objects in the Kubernetes API, listed anew for each batch: for processes that do one thing and end.
public actor ListedStore: IPAMStore {
    private let client: KubeClient
    private let state = ListedState()

    public init(client: KubeClient) { self.client = client }

    public nonisolated var objects: IPAMObjects { state.objects }

    public func begin() async throws {
        async let pools = client.list(.ipPools).items
        async let blocks = client.list(.ipamBlocks).items
        async let affinities = client.list(.blockAffinities).items
        async let nodes = client.list(.nodes).items
        async let reservations = client.list(.ipReservations).items
        async let config = client.find(.ipamConfigs, "default")
        state.objects = try await IPAMObjects(
            pools: pools, blocks: blocks, affinities: affinities, nodes: nodes, reservations: reservations,
            config: config)
    }

    public func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject? {
        try await client.find(resource, name)
    }

    public func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] { try await client.apply(changes) }
}

extension KubeClient {
    fileprivate func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] {
        if changes.count == 1, let change = changes.first { return [try await apply(change)] }
        return try await withThrowingTaskGroup(of: (Int, IPAMOutcome).self) { group in
            for (index, change) in changes.enumerated() {
                group.addTask { (index, try await apply(change)) }
            }
            var outcomes: [Int: IPAMOutcome] = [:]
            for try await (index, outcome) in group { outcomes[index] = outcome }
            return changes.indices.map { outcomes[$0] ?? .conflict }
        }
    }

    private func apply(_ change: IPAMChange) async throws -> IPAMOutcome {
        let object = change.object
        do {
            switch change.verb {
            case .create: return .written(try await create(change.resource, object))
            case .update: return .written(try await update(change.resource, object))
            case .delete:
                try await delete(
                    change.resource, object.name, uid: object.uid.isEmpty ? nil : object.uid,
                    resourceVersion: object.resourceVersion.isEmpty ? nil : object.resourceVersion)
                return .deleted
            }
        } catch let error as APIError where error.isAlreadyExists {
            return .exists
        } catch let error as APIError where error.isConflict {
            return .conflict
        } catch let error as APIError where error.isNotFound {
            return .notFound
        }
    }
}
