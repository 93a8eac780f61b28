// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// A user that is a node's kubelet: `system:node:NAME` of group `system:nodes`.
struct NodeIdentity: Sendable {
    let name: String

    static let userPrefix = "system:node:"

    init?(_ user: UserInfo) {
        guard user.groups.contains(UserInfo.Group.nodes), user.name.hasPrefix(Self.userPrefix) else { return nil }
        name = String(user.name.dropFirst(Self.userPrefix.count))
    }
}

/// What the pods of a node lead to: the objects that its kubelet has a reason to read.
struct NodeGraph: Sendable {
    let objects: AdmissionObjects

    private static let pods = StorageKey(.pods)
    private static let claims = StorageKey(.persistentVolumeClaims)
    private static let volumes = StorageKey(GroupVersionResource("", "v1", "persistentvolumes"))

    init(objects: AdmissionObjects) { self.objects = objects }

    /// Which node runs a pod; nil when there is no such pod.
    func node(ofPod name: String, in namespace: String) -> String? {
        objects.mirror.object(Self.pods, namespace, name)?.attributes.fields["spec.nodeName"]
    }

    /// Whether a pod of the node runs as the account.
    func uses(_ node: String, account: String, in namespace: String) -> Bool {
        stored(node, namespace).contains { $0.attributes.fields["spec.serviceAccountName"] == account }
    }

    func uses(_ node: String, configMap: String, in namespace: String) -> Bool {
        pods(node, namespace).contains { PodReferences.configMaps($0).contains(configMap) }
    }

    func uses(_ node: String, claim: String, in namespace: String) -> Bool {
        pods(node, namespace).contains { PodReferences.claims($0).contains(claim) }
    }

    func uses(_ node: String, volume: String) -> Bool {
        guard let reference = objects.object(Self.volumes, nil, volume)?["spec"]["claimRef"],
            let claim = reference["name"].string, let namespace = reference["namespace"].string
        else { return false }
        return uses(node, claim: claim, in: namespace)
    }

    func uses(_ node: String, secret: String, in namespace: String) -> Bool {
        if pods(node, namespace).contains(where: { PodReferences.secrets($0).contains(secret) }) { return true }
        // A volume that is mounted may need a secret of any namespace.
        return objects.list(Self.volumes).contains { volume in
            PodReferences.secrets(ofVolume: volume).contains(ObjectKey(namespace, secret))
                && uses(node, volume: volume.name)
        }
    }

    private func stored(_ node: String, _ namespace: String) -> [StoredObject] {
        objects.mirror.list(Self.pods, namespace: namespace).objects.filter {
            $0.attributes.fields["spec.nodeName"] == node
        }
    }

    private func pods(_ node: String, _ namespace: String) -> [KubeObject] {
        stored(node, namespace).map { objects.parsed($0) }
    }
}
