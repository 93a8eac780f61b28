// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import Values

/// Sends pods' statuses to the API: in order for each pod, the latest only, and never making the sender wait.
actor StatusWriter {
    private struct Entry {
        let key: ObjectKey
        /// What the API has, as far as is known.
        var sent: JSON?
        var wanted: JSON
        var isWriting = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let client: KubeClient
    private let log: Logger
    private var entries: [String: Entry] = [:]

    init(client: KubeClient, log: Logger) {
        self.client = client
        self.log = log
    }

    /// Has `status` written. `known` is what the API has, for a pod of which nothing was written yet.
    func set(_ uid: String, key: ObjectKey, status: JSON, known: JSON?) {
        if entries[uid] == nil {
            entries[uid] = Entry(key: key, sent: known, wanted: status)
        } else {
            entries[uid]?.wanted = status
        }
        guard entries[uid]?.isWriting == false else { return }
        entries[uid]?.isWriting = true
        Task { await write(uid) }
    }

    /// Returns when the latest status was written, or cannot be.
    func flush(_ uid: String) async {
        guard entries[uid]?.isWriting == true else { return }
        await withCheckedContinuation { continuation in
            if entries[uid]?.isWriting == true {
                entries[uid]?.waiting.append(continuation)
            } else {
                continuation.resume()
            }
        }
    }

    func forget(_ uid: String) {
        guard let entry = entries.removeValue(forKey: uid) else { return }
        for waiting in entry.waiting { waiting.resume() }
    }

    private func write(_ uid: String) async {
        var failures = 0
        while let entry = entries[uid], let change = PodStatus.difference(entry.wanted, from: entry.sent) {
            do {
                _ = try await client.patch(
                    .pods, entry.key.name, in: entry.key.namespace, type: .strategic,
                    ["metadata": ["uid": JSON(uid)], "status": change], subresource: "status")
                entries[uid]?.sent = entry.wanted
                failures = 0
            } catch let error as APIError where !error.isTransient {
                // Gone, or another pod of the same name: nobody wants this status any more.
                if !error.isNotFound, !error.isConflict {
                    log.warning("cannot write the status of pod \(entry.key): \(error)")
                }
                entries[uid]?.sent = entry.wanted
            } catch {
                failures += 1
                // The server is away: nothing but time brings it back, and its return sends no event.
                try? await Task.sleep(for: .milliseconds(min(100 << min(failures, 6), 5000)))
                if Task.isCancelled { break }
            }
        }
        entries[uid]?.isWriting = false
        let waiting = entries[uid]?.waiting ?? []
        entries[uid]?.waiting = []
        for continuation in waiting { continuation.resume() }
    }
}
