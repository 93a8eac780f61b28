// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Every pod runs as a service account of its namespace and finds that account's token in a volume.
struct ServiceAccountAdmission: AdmissionPlugin {
    let mirror: Mirror

    static let tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount"
    /// An hour, and a little more so that it is not taken for one that the user asked for.
    static let tokenSeconds = 3607
    /// So long a pod waits for an account that a controller is about to make.
    private static let patience = Duration.seconds(1)

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.operation == .create, review.type.storage == .pods, review.subresource.isEmpty else { return }
        // Pods that mirror a node's own files have no account.
        guard review.object.annotations["kubernetes.io/config.mirror"] == nil else { return }
        var pod = review.object
        let named = pod["spec"]["serviceAccountName"].string ?? pod["spec"]["serviceAccount"].string ?? ""
        let name = named.isEmpty ? "default" : named
        pod["spec"]["serviceAccountName"] = JSON(name)
        pod["spec"]["serviceAccount"] = JSON(name)
        let namespace = pod.namespace ?? ""
        guard let account = await account(namespace, name) else {
            throw review.forbidden(
                "error looking up service account \(namespace)/\(name): serviceaccount \"\(name)\" not found")
        }
        if pod["spec"]["imagePullSecrets"].array?.isEmpty ?? true,
            let secrets = account["imagePullSecrets"].array, !secrets.isEmpty
        {
            pod["spec"]["imagePullSecrets"] = .array(secrets)
        }
        let mounts =
            pod["spec"]["automountServiceAccountToken"].bool ?? account["automountServiceAccountToken"].bool ?? true
        if mounts { Self.mountToken(&pod) }
        review.object = pod
    }

    private func account(_ namespace: String, _ name: String) async -> KubeObject? {
        let key = StorageKey(.serviceAccounts)
        if let account = mirror.object(key, namespace, name) { return account.object() }
        let watch = mirror.watch(key, namespace: namespace, from: .snapshot).watch
        guard let watch else { return nil }
        let timer = Task {
            try await Task.sleep(for: Self.patience)
            watch.subscription.send(.timeUp)
        }
        defer {
            timer.cancel()
            mirror.unsubscribe(key, watch.subscription)
        }
        if let found = mirror.object(key, namespace, name) { return found.object() }
        while let signal = await watch.subscription.next() {
            if let found = mirror.object(key, namespace, name) { return found.object() }
            if case .timeUp = signal { return nil }
        }
        return nil
    }

    private static func mountToken(_ pod: inout KubeObject) {
        let existing = (pod["spec"]["volumes"].array ?? []).first {
            $0["name"].string?.hasPrefix("kube-api-access-") ?? false
        }
        let volume = existing?["name"].string ?? "kube-api-access-\(UID.suffix())"
        let mount: JSON = ["name": JSON(volume), "readOnly": true, "mountPath": JSON(tokenPath)]
        var isUsed = false
        for list in ["initContainers", "containers"] {
            guard var containers = pod["spec"][list].array else { continue }
            for index in containers.indices {
                var mounts = containers[index]["volumeMounts"].array ?? []
                guard !mounts.contains(where: { $0["mountPath"].string == tokenPath }) else { continue }
                mounts.append(mount)
                containers[index]["volumeMounts"] = .array(mounts)
                isUsed = true
            }
            pod["spec"][list] = .array(containers)
        }
        guard isUsed, existing == nil else { return }
        var volumes = pod["spec"]["volumes"].array ?? []
        volumes.append(tokenVolume(volume))
        pod["spec"]["volumes"] = .array(volumes)
    }

    private static func tokenVolume(_ name: String) -> JSON {
        let namespaceItem: JSON = [
            "path": "namespace", "fieldRef": ["apiVersion": "v1", "fieldPath": "metadata.namespace"],
        ]
        let sources: [JSON] = [
            ["serviceAccountToken": ["expirationSeconds": JSON(tokenSeconds), "path": "token"]],
            [
                "configMap": [
                    "name": "kube-root-ca.crt", "items": .array([["key": "ca.crt", "path": "ca.crt"]]),
                ]
            ],
            ["downwardAPI": ["items": .array([namespaceItem])]],
        ]
        return ["name": JSON(name), "projected": ["sources": .array(sources), "defaultMode": 420]]
    }
}
