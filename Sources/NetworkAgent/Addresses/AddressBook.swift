// SPDX-License-Identifier: Apache-2.0

public import KubeClient
import KubeObjects
public import Logging
public import NetworkModel
public import Values

/// Gives out and takes back the node's addresses: `NetworkModel` decides, this commits the decision to the API's
/// objects by compare-and-swap, and decides again when somebody was faster.
///
/// Requests that arrive while a write is under way are answered together with the next one, so that many pods that
/// start at once cost few writes of their block.
public actor AddressBook {
    /// An address that is committed.
    public struct Assigned: Sendable, Hashable {
        public let address: IPAddress
        public let block: CIDR
        /// For people: from which pool and why.
        public let explanation: String
        /// False when the handle held the address already.
        public let isNew: Bool
    }

    /// Others kept changing the objects in between.
    public struct Contention: Error, Sendable, CustomStringConvertible {
        public let subject: String
        public var description: String {
            "\(subject): other writers changed the blocks at each of \(AddressBook.attempts) attempts"
        }
    }

    static let attempts = 30

    enum Job {
        case assign(AddressRequest, CheckedContinuation<Assigned, any Error>)
        case release([String], CheckedContinuation<[IPAddress], any Error>)
        case tidy(CheckedContinuation<Void, any Error>)
    }

    let client: KubeClient
    let node: String
    let logger: Logger
    private let read: @Sendable () -> IPAMObjects
    private let onChange: @Sendable () -> Void
    private var queue: [Job] = []
    private var isWorking = false

    var ownBlocks = OwnWrites()
    var ownAffinities = OwnWrites()
    /// Handles as last written, so that releasing one does not need to read it.
    var handles: [String: IPAMHandle] = [:]
    private var parsed: [String: (version: String, block: IPAMBlock)] = [:]

    /// - Parameters:
    ///   - read: the objects as the watch knows them.
    ///   - onChange: called after each write.
    public init(
        client: KubeClient, node: String, logger: Logger = Logger(label: "ipam"),
        read: @escaping @Sendable () -> IPAMObjects, onChange: @escaping @Sendable () -> Void = {}
    ) {
        self.client = client
        self.node = node
        self.logger = logger
        self.read = read
        self.onChange = onChange
    }

    /// An address for the handle: a new one, or the one that it holds.
    ///
    /// - Throws: ``AddressRefusal`` when there is none to be had.
    public func assign(_ request: AddressRequest) async throws -> Assigned {
        try await withCheckedThrowingContinuation { enqueue(.assign(request, $0)) }
    }

    /// Takes back all addresses of the handles. None held is no error.
    @discardableResult
    public func release(handleIDs: [String]) async throws -> [IPAddress] {
        try await withCheckedThrowingContinuation { enqueue(.release(handleIDs, $0)) }
    }

    /// Gives up the node's empty blocks that no pool wants it to have.
    public func tidy() async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            enqueue(.tidy(continuation))
        }
    }

    private func enqueue(_ job: Job) {
        queue.append(job)
        guard !isWorking else { return }
        isWorking = true
        // Lives until the queue is empty; those who wait hold its results.
        Task { await work() }
    }

    private func work() async {
        while !queue.isEmpty {
            let batch = queue
            queue = []
            var assignments: [(AddressRequest, CheckedContinuation<Assigned, any Error>)] = []
            var releases: [([String], CheckedContinuation<[IPAddress], any Error>)] = []
            var tidying: [CheckedContinuation<Void, any Error>] = []
            for job in batch {
                switch job {
                case .assign(let request, let continuation): assignments.append((request, continuation))
                case .release(let handleIDs, let continuation): releases.append((handleIDs, continuation))
                case .tidy(let continuation): tidying.append(continuation)
                }
            }
            // Releases first: what they free may be what the others need.
            if !releases.isEmpty { await performReleases(releases) }
            if !assignments.isEmpty { await performAssignments(assignments) }
            if !tidying.isEmpty { await performTidying(tidying) }
            onChange()
        }
        isWorking = false
    }

    /// The objects as they are by the best knowledge of this process.
    public func snapshot() -> IPAMSnapshot {
        let objects = read()
        let (pools, problems) = IPPool.read(objects.pools)
        var snapshot = IPAMSnapshot(pools: pools, problems: problems)
        var seen: Set<String> = []
        for (name, object) in ownBlocks.merge(objects.blocks) {
            seen.insert(name)
            if let known = parsed[name], known.version == object.resourceVersion {
                snapshot.blocks[known.block.cidr] = known.block
                continue
            }
            do {
                let block = try IPAMBlock(object)
                parsed[name] = (object.resourceVersion, block)
                snapshot.blocks[block.cidr] = block
            } catch {
                logger.error("\(error); its addresses are left alone")
            }
        }
        for name in parsed.keys where !seen.contains(name) { parsed[name] = nil }
        snapshot.affinities = AffinityTable(
            ownAffinities.merge(objects.affinities).values.compactMap { try? BlockAffinity($0) }
                .filter { $0.node == node })
        if let config = objects.config { snapshot.config = IPAMConfig(config) }
        for object in objects.nodes {
            snapshot.nodes[object.name] = object.labels
        }
        return snapshot
    }
}
