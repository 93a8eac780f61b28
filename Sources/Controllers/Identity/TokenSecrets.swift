// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import PKI
import Values

/// Fills Secrets that ask for the token of a service account, and deletes those whose account is gone.
///
/// Pods do not need them; who makes one wants a token that does not expire. It is good for as long as the Secret holds
/// it, which the API server checks.
struct TokenSecrets: Controller {
    private static let accountName = "kubernetes.io/service-account.name"
    private static let accountUID = "kubernetes.io/service-account.uid"

    let context: ControllerContext
    private let signer: TokenSigner
    private let queue = WorkQueue<ObjectKey>("serviceaccount_tokens_secret")

    /// Nil without the key that signs tokens: the Secrets are then left alone.
    init?(_ context: ControllerContext) {
        guard let signer = context.configuration.tokenSigner else { return nil }
        self.context = context
        self.signer = signer
    }

    func register() {
        let queue = queue
        let caches = context.caches
        caches.tokenSecrets.onChange { change in
            queue.add(change.object.key)
        }
        caches.serviceAccounts.onChange { change in
            guard change.new == nil || change.old?.uid != change.new?.uid else { return }
            for secret in caches.tokenSecrets.inNamespace(change.object.namespace)
            where secret.annotations[Self.accountName] == change.object.name { queue.add(secret.key) }
        }
    }

    func run() async { await queue.run(workers: 2) { key in try await reconcile(key) } }

    private func reconcile(_ key: ObjectKey) async throws {
        let secrets = context.caches.tokenSecrets
        guard var secret = secrets[key] else { return try await forget(key) }
        guard !secret.isBeingDeleted, let name = secret.annotations[Self.accountName] else { return }
        guard let account = try await account(ObjectKey(key.namespace, name), of: secret) else {
            return try await secrets.delete(secret)
        }
        let before = secret
        func fill(_ member: String, _ text: String) {
            secret["data"][member] = JSON(Base64.text(Array(text.utf8)))
        }
        if secret["data"].object == nil { secret["data"] = .object([:]) }
        fill("ca.crt", context.configuration.clusterCACertificatePEM)
        if (secret["data"]["namespace"].string ?? "").isEmpty { fill("namespace", key.namespace ?? "") }
        if (secret["data"]["token"].string ?? "").isEmpty { fill("token", try token(secret, account)) }
        secret.metadata["annotations"][Self.accountUID] = JSON(account.uid)
        guard secret != before else { return }
        do {
            try await secrets.update(secret)
        } catch let error as APIError where error.isNotFound {
            // Deleted meanwhile.
        }
    }

    /// Accounts do not refer to a Secret that is gone: one of the same name made later would count as made for them.
    private func forget(_ key: ObjectKey) async throws {
        let accounts = context.caches.serviceAccounts
        for account in accounts.inNamespace(key.namespace) where !account.isBeingDeleted {
            let kept = (account["secrets"].array ?? []).filter { $0["name"].string != key.name }
            guard kept.count < account["secrets"].array?.count ?? 0 else { continue }
            var changed = account
            changed["secrets"] = kept.isEmpty ? nil : .array(kept)
            do {
                try await accounts.update(changed)
            } catch let error as APIError where error.isNotFound {
                // Deleted meanwhile.
            }
        }
    }

    /// The account that a Secret is for. That there is none, or another by now, only the server says.
    private func account(_ key: ObjectKey, of secret: KubeObject) async throws -> KubeObject? {
        func fits(_ account: KubeObject) -> Bool {
            let uid = secret.annotations[Self.accountUID] ?? ""
            return !account.isBeingDeleted && (uid.isEmpty || uid == account.uid)
        }
        if let known = context.caches.serviceAccounts[key], fits(known) { return known }
        do {
            let account = try await context.caches.serviceAccounts.fresh(key)
            return fits(account) ? account : nil
        } catch let error as APIError where error.isNotFound {
            return nil
        }
    }

    private func token(_ secret: KubeObject, _ account: KubeObject) throws -> String {
        let namespace = account.namespace ?? ""
        let prefix = "kubernetes.io/serviceaccount"
        return try signer.sign(
            .object([
                "iss": "kubernetes/serviceaccount",
                "sub": JSON("system:serviceaccount:\(namespace):\(account.name)"),
                "\(prefix)/namespace": JSON(namespace), "\(prefix)/secret.name": JSON(secret.name),
                "\(prefix)/service-account.name": JSON(account.name),
                "\(prefix)/service-account.uid": JSON(account.uid),
            ]))
    }
}
