// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// The ConfigMaps and Secrets that pods of this node refer to, each watched by itself while somebody does: a kubelet
/// may not list those of others.
actor ObjectCache {
    private struct Entry {
        let informer: Informer
        let tasks: [Task<Void, Never>]
        var users: [String: @Sendable () async -> Void] = [:]
    }

    private let client: KubeClient
    private var entries: [ObjectReference: Entry] = [:]

    init(client: KubeClient) { self.client = client }

    /// Keeps `references` up to date for the user `uid`, and calls `changed` when one of them does.
    func register(_ uid: String, _ references: Set<ObjectReference>, changed: @escaping @Sendable () async -> Void) {
        for reference in references {
            if entries[reference] == nil { entries[reference] = start(reference) }
            entries[reference]?.users[uid] = changed
        }
        release(uid, except: references)
    }

    func release(_ uid: String, except kept: Set<ObjectReference> = []) {
        for (reference, entry) in entries where entry.users[uid] != nil && !kept.contains(reference) {
            entries[reference]?.users[uid] = nil
            if entries[reference]?.users.isEmpty == true {
                for task in entry.tasks { task.cancel() }
                entries[reference] = nil
            }
        }
    }

    private func start(_ reference: ObjectReference) -> Entry {
        let informer = Informer(
            client, reference.resource, namespace: reference.key.namespace,
            fieldSelector: "metadata.name=\(reference.key.name)")
        // Not structured: they end with the last pod that refers to the object.
        let watch = Task { await informer.run() }
        let follow = Task { [weak self] in
            for await _ in informer.events() { await self?.notify(reference) }
        }
        return Entry(informer: informer, tasks: [watch, follow])
    }

    private func notify(_ reference: ObjectReference) async {
        let users = entries[reference]?.users.values.map { $0 } ?? []
        for changed in users { await changed() }
    }

    /// The object as it is known; asked for once more when it is not, for it may have been made just now.
    func object(_ reference: ObjectReference) async throws -> KubeObject? {
        if let known = entries[reference]?.informer[reference.key] { return known }
        return try await client.find(reference.resource, reference.key)
    }

    /// All of them; those that do not exist are left out.
    func objects(_ references: Set<ObjectReference>) async throws -> [ObjectReference: KubeObject] {
        try await withThrowingTaskGroup(of: (ObjectReference, KubeObject?).self) { group in
            for reference in references {
                group.addTask { (reference, try await self.object(reference)) }
            }
            var result: [ObjectReference: KubeObject] = [:]
            for try await (reference, object) in group { result[reference] = object }
            return result
        }
    }
}
