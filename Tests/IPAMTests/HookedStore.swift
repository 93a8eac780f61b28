// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import Synchronization

/// A store in which something happens just before a process's request arrives: the moment that a race needs.
final class HookedStore: IPAMStore {
    struct Hook: Sendable {
        let verb: IPAMChange.Verb
        let resource: GroupVersionResource
        let body: @Sendable () async throws -> Void
    }

    private let backing: MemoryStore
    private let hooks: Mutex<[Hook]>

    init(_ backing: MemoryStore, _ hooks: [Hook] = []) {
        self.backing = backing
        self.hooks = Mutex(hooks)
    }

    /// Whether all that was to happen has.
    var isDone: Bool { hooks.withLock { $0.isEmpty } }
    var revision: String? { backing.revision }
    var objects: IPAMObjects { backing.objects }
    func feed() -> (any IPAMFeed)? { backing.feed() }

    func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject? {
        try await backing.get(resource, name)
    }

    func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] {
        let due = hooks.withLock { hooks -> Hook? in
            guard let next = hooks.first,
                changes.contains(where: { $0.verb == next.verb && $0.resource == next.resource })
            else { return nil }
            return hooks.removeFirst()
        }
        try await due?.body()
        return try await backing.apply(changes)
    }
}
