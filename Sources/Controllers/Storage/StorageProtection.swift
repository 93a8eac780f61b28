// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Lets go of claims that are being deleted once no pod that has a node uses them.
struct ClaimProtection: Controller {
    static let finalizer = "kubernetes.io/pvc-protection"

    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("pvcprotection")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        context.caches.persistentVolumeClaims.onChange { change in
            if let claim = change.new, claim.needsProtectionChange(Self.finalizer) { queue.add(claim.key) }
        }
        context.caches.pods.onChange { change in
            guard change.new == nil else { return }
            for name in Self.claims(of: change.object) { queue.add(ObjectKey(change.object.namespace, name)) }
        }
    }

    func run() async { await queue.run(workers: 2) { key in try await reconcile(key) } }

    /// The claims that a pod uses, its own ones among them.
    static func claims(of pod: KubeObject) -> [String] {
        (pod["spec"]["volumes"].array ?? []).compactMap { volume in
            if let name = volume["persistentVolumeClaim"]["claimName"].string { return name }
            return volume["ephemeral"].object == nil ? nil : "\(pod.name)-\(volume["name"].string ?? "")"
        }
    }

    private func reconcile(_ key: ObjectKey) async throws {
        let claims = context.caches.persistentVolumeClaims
        guard let claim = claims[key], claim.needsProtectionChange(Self.finalizer) else { return }
        if claim.isBeingDeleted {
            func isUser(_ pod: KubeObject) -> Bool {
                pod.nodeName != nil && Self.claims(of: pod).contains(key.name)
            }
            if context.caches.pods.inNamespace(key.namespace).contains(where: isUser) { return }
            // A pod may just have got its node: only the server knows.
            if try await context.client.list(.pods, in: key.namespace).items.contains(where: isUser) { return }
        }
        try await claims.setProtection(claim, Self.finalizer, !claim.isBeingDeleted)
    }
}

/// Lets go of volumes that are being deleted once they are not bound.
struct VolumeProtection: Controller {
    static let finalizer = "kubernetes.io/pv-protection"

    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("pvprotection")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        context.caches.persistentVolumes.onChange { change in
            if let volume = change.new, volume.needsProtectionChange(Self.finalizer) { queue.add(volume.key) }
        }
    }

    func run() async { await queue.run(workers: 2) { key in try await reconcile(key) } }

    private func reconcile(_ key: ObjectKey) async throws {
        let volumes = context.caches.persistentVolumes
        guard let volume = volumes[key], volume.needsProtectionChange(Self.finalizer) else { return }
        if volume.isBeingDeleted, volume["status"]["phase"].string == "Bound" { return }
        try await volumes.setProtection(volume, Self.finalizer, !volume.isBeingDeleted)
    }
}

extension KubeObject {
    /// Whether the finalizer is missing from an object that stays, or there on one that is to go.
    fileprivate func needsProtectionChange(_ finalizer: String) -> Bool {
        finalizers.contains(finalizer) == isBeingDeleted
    }
}

extension ResourceCache {
    fileprivate func setProtection(_ object: KubeObject, _ finalizer: String, _ isProtected: Bool) async throws {
        var finalizers = object.finalizers.filter { $0 != finalizer }
        if isProtected { finalizers.append(finalizer) }
        do {
            try await patch(
                object,
                [
                    "metadata": [
                        "finalizers": finalizers.isEmpty ? .null : JSON(finalizers), "uid": JSON(object.uid),
                        "resourceVersion": JSON(object.resourceVersion),
                    ]
                ])
        } catch let error as APIError where error.isNotFound {
            // Gone already.
        }
    }
}
