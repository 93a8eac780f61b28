// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import Synchronization

struct Killed: Error {}
struct Unreachable: Error {}

/// One process's way to a shared store: it sees the objects of a while ago, and what becomes of each of its requests is
/// decided at the gate.
final class FaultyStore: IPAMStore {
    private struct State {
        var seen: IPAMObjects
        /// The store's version then.
        var reached: Int64
        var revision = 0
        var isDead = false
    }

    let id: Int
    private let backing: MemoryStore
    private let gate: Gate
    /// Takes the requests of killed processes that are still on their way.
    private let late: @Sendable ([IPAMChange]) -> Void
    private let state: Mutex<State>

    init(_ id: Int, _ backing: MemoryStore, _ gate: Gate, late: @escaping @Sendable ([IPAMChange]) -> Void) {
        self.id = id
        self.backing = backing
        self.gate = gate
        self.late = late
        state = Mutex(State(seen: backing.objects, reached: backing.revision.flatMap { Int64($0) } ?? 0))
    }

    var revision: String? { state.withLock { "\($0.revision)" } }
    var objects: IPAMObjects { state.withLock { $0.seen } }

    /// The watch catches up.
    func refresh() {
        let now = backing.objects
        let reached = backing.revision.flatMap { Int64($0) } ?? 0
        state.withLock {
            $0.seen = now
            $0.reached = reached
            $0.revision += 1
        }
    }

    func feed() -> (any IPAMFeed)? { Feed(self) }

    /// Tells what is different each time that the watch has caught up.
    private final class Feed: IPAMFeed {
        private struct Key: Hashable {
            let resource: GroupVersionResource
            let name: String
        }

        private let store: FaultyStore
        private let known = Mutex<[Key: KubeObject]>([:])

        init(_ store: FaultyStore) { self.store = store }

        private func shown() -> [Key: KubeObject] {
            let objects = store.objects
            var result: [Key: KubeObject] = [:]
            for (resource, list) in [
                (GroupVersionResource.ipPools, objects.pools), (.ipamBlocks, objects.blocks),
                (.blockAffinities, objects.affinities), (.nodes, objects.nodes),
                (.ipReservations, objects.reservations), (.ipamConfigs, objects.config.map { [$0] } ?? []),
            ] {
                for object in list { result[Key(resource: resource, name: object.name)] = object }
            }
            return result
        }

        func news() -> IPAMNews {
            let reached = store.state.withLock { $0.reached }
            let now = shown()
            return known.withLock { known in
                var changes: [IPAMNews.Change] = []
                for (key, object) in now where known[key] != object { changes.append(.init(key.resource, object)) }
                for (key, object) in known where now[key] == nil {
                    changes.append(.init(key.resource, object, isDeletion: true))
                }
                known = now
                return IPAMNews(changes: changes, blocksReached: reached, claimsReached: reached)
            }
        }

        func shows(_ resource: GroupVersionResource, _ name: String) -> Bool {
            shown()[Key(resource: resource, name: name)] != nil
        }
    }

    var isDead: Bool { state.withLock { $0.isDead } }

    func kill() { state.withLock { $0.isDead = true } }

    private func fate() async throws -> Fate {
        guard !state.withLock({ $0.isDead }) else { throw Killed() }
        let fate = await gate.park(id)
        if fate.kills { kill() }
        return fate
    }

    func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject? {
        switch try await fate() {
        case .run, .conflict: return backing[resource, name]
        case .failBefore, .failHalf, .failAfter: throw Unreachable()
        case .killBefore, .killAfter, .killLate: throw Killed()
        }
    }

    func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] {
        switch try await fate() {
        case .run: return changes.map { backing.make($0) }
        case .conflict: return changes.map { $0.verb == .create ? .exists : .conflict }
        case .failBefore: throw Unreachable()
        case .failHalf:
            for change in changes.prefix(changes.count / 2) { backing.make(change) }
            throw Unreachable()
        case .failAfter:
            for change in changes { backing.make(change) }
            throw Unreachable()
        case .killBefore: throw Killed()
        case .killAfter:
            for change in changes { backing.make(change) }
            throw Killed()
        case .killLate:
            late(changes)
            throw Killed()
        }
    }
}
