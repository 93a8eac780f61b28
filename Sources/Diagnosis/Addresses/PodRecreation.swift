// SPDX-License-Identifier: Apache-2.0

import Sessions
import KubeClient
import KubeObjects
import Values

/// Deletes a few pods and waits until their controllers have as many ready ones again.
struct PodRecreation: Sendable {
    let client: KubeClient
    /// Seconds to wait for.
    let limit: Int

    func run(_ pods: [ObjectKey]) async throws {
        let before = try await client.list(.pods)
        let wanted = Set(pods)
        let chosen = before.items.filter { wanted.contains($0.key) }
        let owners = Dictionary(
            chosen.compactMap(\.controller).map { ($0.uid, Self.ready(before.items, of: $0.uid)) },
            uniquingKeysWith: { first, _ in first })
        let gone = Set(chosen.map(\.uid))
        for pod in chosen {
            do {
                try await client.delete(.pods, pod.name, in: pod.namespace, uid: pod.uid)
            } catch let error as APIError where error.isNotFound || error.isConflict {
                continue
            }
        }
        try await wait(gone, owners)
    }

    /// Ready pods of a controller.
    private static func ready(_ pods: [KubeObject], of owner: String) -> Int {
        pods.count { pod in
            pod.controller?.uid == owner && !pod.isBeingDeleted
                && (pod["status"]["conditions"].array ?? []).contains {
                    $0["type"].string == "Ready" && $0["status"].string == "True"
                }
        }
    }

    private func wait(_ gone: Set<String>, _ owners: [String: Int]) async throws {
        let deadline = ContinuousClock.now + .seconds(limit)
        while true {
            let list = try await client.list(.pods)
            let rest = list.items.filter { gone.contains($0.uid) }
            let short = owners.filter { Self.ready(list.items, of: $0.key) < $0.value }
            if rest.isEmpty, short.isEmpty { return }
            guard ContinuousClock.now < deadline else {
                throw Failure(
                    "after \(limit) s \(rest.count) pods are not gone and \(short.count) controllers have fewer ready pods than before: see kubectl get pods -A. The same command goes on from here, --timeout SECONDS waits longer"
                )
            }
            // The server ends the watch in time for another look at the clock.
            let remaining = max(1, Int((deadline - .now).components.seconds))
            let events = try await client.watch(
                .pods, resourceVersion: list.resourceVersion, timeoutSeconds: min(remaining, 30))
            for try await batch in events where batch.contains(where: { $0.type != .bookmark }) { break }
        }
    }
}
