// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Deletes Jobs whose time after their end is over (`spec.ttlSecondsAfterFinished`), with all that they own.
struct FinishedJobs: Controller {
    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("ttl_jobs_to_delete")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        context.caches.jobs.onChange { change in
            if let job = change.new, Self.end(of: job) != nil { queue.add(job.key) }
        }
    }

    func run() async { await queue.run(workers: 2) { key in try await reconcile(key) } }

    /// When the Job goes; nil while it runs, and when it stays.
    private static func end(of job: KubeObject) -> Timestamp? {
        guard !job.isBeingDeleted, let seconds = job["spec"]["ttlSecondsAfterFinished"].double,
            let finished = ["Complete", "Failed"].lazy.compactMap({ job.condition($0) })
                .first(where: { $0["status"].string == "True" }),
            let time = finished["lastTransitionTime"].string.flatMap({ Timestamp($0) })
        else { return nil }
        return time.adding(seconds: seconds)
    }

    private func reconcile(_ key: ObjectKey) async throws {
        let jobs = context.caches.jobs
        guard let known = jobs[key], let end = Self.end(of: known) else { return }
        let left = end.seconds(since: .now)
        if left > 0 { return queue.addAfter(key, .seconds(left)) }
        do {
            // The time may have been made longer meanwhile: only the server's word counts.
            let job = try await jobs.fresh(key)
            guard let end = Self.end(of: job) else { return }
            let left = end.seconds(since: .now)
            if left > 0 { return queue.addAfter(key, .seconds(left)) }
            try await jobs.delete(job, propagationPolicy: "Foreground")
        } catch let error as APIError where error.isNotFound {
            // Deleted meanwhile.
        }
    }
}
