// SPDX-License-Identifier: Apache-2.0

import KubeClient
package import KubeObjects
package import Values

/// Gives up tokens that Kubernetes made for each service account by itself, before 1.24, and that nobody uses: they do
/// not expire, so that whoever has found one has it for good.
///
/// First a token is marked as invalid, which its owner can undo; as long again later its Secret is deleted.
struct LegacyTokenCleaner: Controller {
    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("legacy_token_cleaner")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        let caches = context.caches
        caches.tokenSecrets.onChange { change in
            if let secret = change.new { queue.add(secret.key) }
        }
        caches.tokenTracking.onChange { _ in queue.add(caches.tokenSecrets.all.map(\.key)) }
        caches.serviceAccounts.onChange { change in
            guard let account = change.new, change.old?["secrets"] != account["secrets"] else { return }
            queue.add(caches.tokenSecrets.inNamespace(account.namespace).map(\.key))
        }
        // The last pod that used a Secret may be gone.
        caches.pods.onChange { change in
            guard change.new == nil else { return }
            queue.add(caches.tokenSecrets.inNamespace(change.object.namespace).map(\.key))
        }
    }

    func run() async { await queue.run(workers: 1) { key in try await reconcile(key) } }

    private func reconcile(_ key: ObjectKey) async throws {
        let caches = context.caches
        guard let secret = caches.tokenSecrets[key], !secret.isBeingDeleted, isGenerated(secret),
            let tracked = LegacyTokenTracking.start(caches),
            let life = LegacyTokenLife(
                secret, trackedSince: tracked,
                period: Double(context.configuration.legacyTokenPeriod.components.seconds)),
            !caches.pods.inNamespace(key.namespace).contains(where: { PodReferences.secrets($0).contains(key.name) })
        else { return }
        let now = Timestamp.now
        let left = life.end.seconds(since: now)
        if left > 0 { return queue.addAfter(key, .seconds(left)) }
        do {
            switch life.step {
            case .invalidate:
                try await caches.tokenSecrets.patch(
                    secret,
                    [
                        "metadata": [
                            "uid": JSON(secret.uid),
                            "labels": .object([TokenSecret.invalidSince: JSON(TokenSecret.day(of: now))]),
                        ]
                    ])
            case .delete:
                // A use that was noted meanwhile keeps it.
                try await context.client.delete(
                    .secrets, key.name, in: key.namespace, uid: secret.uid, resourceVersion: secret.resourceVersion)
            }
        } catch let error as APIError where error.isStale {
            // The next state is on its way by watch.
        }
    }

    private func isGenerated(_ secret: KubeObject) -> Bool {
        guard let name = secret.annotations["kubernetes.io/service-account.name"],
            let account = context.caches.serviceAccounts[ObjectKey(secret.namespace, name)]
        else { return false }
        let uid = secret.annotations["kubernetes.io/service-account.uid"] ?? ""
        return (uid.isEmpty || uid == account.uid) && TokenSecret.isGenerated(secret, for: account)
    }
}

/// What becomes next of a token in a Secret that nobody uses, and when. Days count as a whole: they are noted without
/// their hour.
package struct LegacyTokenLife: Equatable {
    package enum Step: Equatable {
        case invalidate
        case delete
    }

    package let step: Step
    package let end: Timestamp

    /// Nil when that cannot be told from the Secret.
    ///
    /// - Parameter period: how long a token is kept that is not used, in seconds.
    package init?(_ secret: KubeObject, trackedSince: Timestamp, period: Double) {
        let day = 86400.0
        guard let created = secret.creationTimestamp else { return nil }
        var ends = [created.adding(seconds: period), trackedSince.adding(seconds: day + period)]
        if let text = secret.labels[TokenSecret.lastUsed] {
            guard let used = TokenSecret.start(ofDay: text) else { return nil }
            ends.append(used.adding(seconds: day + period))
        }
        if let since = secret.labels[TokenSecret.invalidSince].flatMap({ TokenSecret.start(ofDay: $0) }) {
            step = .delete
            ends.append(since.adding(seconds: day + period))
        } else {
            step = .invalidate
        }
        end = ends.reduce(created, max)
    }
}
