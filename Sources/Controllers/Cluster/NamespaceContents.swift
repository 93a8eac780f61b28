// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// The three things every namespace gets: account `default`, ConfigMap `kube-root-ca.crt`, and, when it is deleted,
/// a way out.
struct NamespaceContents: Controller {
    static let rootCA = "kube-root-ca.crt"

    let context: ControllerContext
    private let queue = WorkQueue<String>("serviceaccount")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        let caches = context.caches
        caches.namespaces.onChange { change in
            if change.old?["status"]["phase"] != change.new?["status"]["phase"] { queue.add(change.object.name) }
        }
        caches.serviceAccounts.onChange { change in
            if change.new == nil, change.object.name == "default", let name = change.object.namespace {
                queue.add(name)
            }
        }
        caches.rootCAs.onChange { change in
            guard change.object.name == Self.rootCA, let name = change.object.namespace else { return }
            queue.add(name)
        }
    }

    func run() async { await queue.run(workers: 4) { name in try await reconcile(name) } }

    private func reconcile(_ name: String) async throws {
        let caches = context.caches
        guard let namespace = caches.namespaces[ObjectKey(nil, name)], !namespace.isBeingDeleted else { return }
        do {
            if caches.serviceAccounts[ObjectKey(name, "default")] == nil {
                try await tolerant {
                    try await caches.serviceAccounts.create(
                        KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: name))
                }
            }
            let pem = context.configuration.clusterCACertificatePEM
            if var existing = caches.rootCAs[ObjectKey(name, Self.rootCA)] {
                guard existing["data"] != ["ca.crt": JSON(pem)] else { return }
                existing["data"] = ["ca.crt": JSON(pem)]
                try await caches.rootCAs.update(existing)
            } else {
                var map = KubeObject(.configMaps, kind: "ConfigMap", name: Self.rootCA, namespace: name)
                map.metadata["annotations"] = [
                    "kubernetes.io/description":
                        "The certificate authority that signs what the API server shows to pods."
                ]
                map["data"] = ["ca.crt": JSON(pem)]
                let wanted = map
                try await tolerant { try await caches.rootCAs.create(wanted) }
            }
        } catch let error as APIError where error.isNamespaceTerminating || error.isNotFound {
            // The namespace is going or gone.
        }
    }

    /// Somebody else made it: as good.
    private func tolerant(_ body: () async throws -> KubeObject) async throws {
        do { _ = try await body() } catch let error as APIError where error.isAlreadyExists {}
    }
}
