// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Keeps the ConfigMap that says since when the API server has noted which tokens in Secrets are used: before that day,
/// a token without a note may have been used all the same.
struct LegacyTokenTracking: Controller {
    static let key = ObjectKey("kube-system", "kube-apiserver-legacy-service-account-token-tracking")

    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("legacy_token_tracking")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        context.caches.tokenTracking.onChange { _ in queue.add(Self.key) }
        // There is no event of what is missing from the beginning.
        queue.add(Self.key)
    }

    func run() async { await queue.run(workers: 1) { _ in try await reconcile() } }

    /// The day; nil before there is one.
    static func start(_ caches: Caches) -> Timestamp? {
        caches.tokenTracking[key]?["data"]["since"].string.flatMap { TokenSecret.start(ofDay: $0) }
    }

    private func reconcile() async throws {
        let cache = context.caches.tokenTracking
        guard Self.start(context.caches) == nil else { return }
        let known = cache[Self.key]
        var map =
            known ?? KubeObject(.configMaps, kind: "ConfigMap", name: Self.key.name, namespace: Self.key.namespace)
        var data = map["data"].object ?? [:]
        data["since"] = JSON(TokenSecret.day(of: .now))
        map["data"] = .object(data)
        do {
            if known == nil { try await cache.create(map) } else { try await cache.update(map) }
        } catch let error as APIError where error.isStale || error.reason == "AlreadyExists" {
            // Somebody was faster: what they wrote comes by watch.
        }
    }
}
