// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// The second look at what was listed: every write since the first one, counted by object.
struct WriteWatch: Sendable {
    let client: KubeClient
    /// How long the second look takes: it is what makes an examination long.
    private static let look: Duration = .milliseconds(500)

    /// Watches from the revisions of the lists on, for half a second.
    func counts(since revisions: [GroupVersionResource: String], began: ContinuousClock.Instant) async -> [WriteCount] {
        await withTaskGroup(of: [WriteCount]?.self) { group in
            for (resource, revision) in revisions where resource != .events {
                group.addTask { await self.counts(resource, since: revision, began: began) }
            }
            group.addTask {
                // Whether something is written again and again only time can tell.
                try? await Task.sleep(for: Self.look)
                return nil
            }
            var all: [WriteCount] = []
            for await part in group {
                if let part { all += part } else { group.cancelAll() }
            }
            return all
        }
    }

    /// What is written until the task is cancelled.
    private func counts(
        _ resource: GroupVersionResource, since revision: String, began: ContinuousClock.Instant
    ) async -> [WriteCount] {
        var counts: [ObjectKey: (count: Int, writer: String?)] = [:]
        do {
            let watch = try await client.watch(
                resource, resourceVersion: revision, allowBookmarks: false, timeoutSeconds: 1)
            for try await batch in watch {
                for event in batch where event.type == .modified {
                    counts[event.object.key, default: (0, nil)].count += 1
                    if let writer = Self.writer(event.object) { counts[event.object.key]?.writer = writer }
                }
            }
        } catch {
            // Cancelled, or a watch that ended early: what it has seen counts.
        }
        let elapsed = ContinuousClock.now - began
        let seconds = max(0.5, elapsed / .seconds(1))
        return counts.filter { $0.value.count > 1 }.map { key, value in
            WriteCount(
                kind: String(resource.resource.dropLast()), key: key, count: value.count, seconds: seconds,
                writer: value.writer)
        }
    }

    private static func writer(_ object: KubeObject) -> String? {
        object.metadata["managedFields"].array?.max {
            ($0["time"].string ?? "") < ($1["time"].string ?? "")
        }.flatMap { $0["manager"].string }
    }
}
