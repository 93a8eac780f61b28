// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import Values

/// Sends pods' statuses to the API: in order for each pod, the latest only, and never making the sender wait. What
/// somebody else writes over them is put back.
actor StatusWriter {
    private struct Entry {
        let key: ObjectKey
        /// What the API has, as far as is known.
        var sent: JSON?
        /// What the API answered to the last write, and the version that became of it.
        var answered: JSON?
        var version: Int64
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

    /// Has `status` written. `known` is the pod as the API has it, for one of which nothing was written yet.
    func set(_ uid: String, status: JSON, known: KubeObject) {
        if entries[uid] == nil {
            entries[uid] = Entry(
                key: known.key, sent: known["status"], answered: known["status"], version: Self.version(known),
                wanted: status)
        } else {
            entries[uid]?.wanted = status
        }
        begin(uid)
    }

    /// Compares what the API shows with what was written. `repairs`: whether a difference is to be put right at once.
    func see(_ pod: KubeObject, repairs: Bool) {
        let uid = pod.uid
        let version = Self.version(pod)
        // Older than our own last write: the watch only follows.
        guard let entry = entries[uid], version > entry.version else { return }
        let status = pod["status"]
        guard OwnedStatus.pod.differs(status, from: entry.answered) else { return }
        entries[uid]?.sent = status
        entries[uid]?.answered = status
        entries[uid]?.version = version
        guard repairs else { return }
        log.info("the status of pod \(entry.key) was changed by somebody else and is put back")
        begin(uid)
    }

    private static func version(_ object: KubeObject) -> Int64 { Int64(object.resourceVersion) ?? 0 }

    private func begin(_ uid: String) {
        guard let entry = entries[uid], !entry.isWriting,
            PodStatus.difference(entry.wanted, from: entry.sent) != nil
        else { return }
        entries[uid]?.isWriting = true
        // Not structured: `isWriting` keeps it the only one of its pod, and `flush` waits for it.
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
                let answer = try await client.patch(
                    .pods, entry.key.name, in: entry.key.namespace, type: .strategic,
                    ["metadata": ["uid": JSON(uid)], "status": change], subresource: "status")
                take(answer, wrote: change, as: entry.wanted)
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
                do { try await Task.sleep(for: .milliseconds(min(100 << min(failures, 6), 5000))) } catch { break }
            }
        }
        entries[uid]?.isWriting = false
        let waiting = entries[uid]?.waiting ?? []
        entries[uid]?.waiting = []
        for continuation in waiting { continuation.resume() }
    }

    /// Notes what became of a write. What it did not touch and is not as it was, somebody else wrote in between.
    private func take(_ answer: KubeObject, wrote change: JSON, as wanted: JSON) {
        guard let entry = entries[answer.uid] else { return }
        let written = Set(change.object?.keys.map { $0 } ?? [])
        let others = OwnedStatus(
            fields: OwnedStatus.pod.fields.subtracting(written),
            conditions: written.contains("conditions") ? [] : OwnedStatus.pod.conditions)
        let status = answer["status"]
        entries[answer.uid]?.sent = others.differs(status, from: entry.answered) ? status : wanted
        entries[answer.uid]?.answered = status
        entries[answer.uid]?.version = Self.version(answer)
    }
}
