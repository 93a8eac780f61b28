// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// A kubelet writes what is its node's, and nothing else.
struct NodeRestriction: AdmissionPlugin {
    let graph: NodeGraph

    static let mirrorAnnotation = "kubernetes.io/config.mirror"

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.operation == .delete, let node = NodeIdentity(review.user) else { return }
        switch review.type.storage {
        case .pods:
            guard review.object["spec"]["nodeName"].string == node.name else {
                throw review.forbidden(
                    "node \"\(node.name)\" can only delete pods with spec.nodeName set to itself")
            }
        case .nodes, .leases: try own(review, node)
        default: return
        }
    }

    func validate(_ review: inout AdmissionReview) async throws {
        guard let node = NodeIdentity(review.user) else { return }
        switch review.type.storage {
        case .pods: try pod(review, node)
        case .nodes: try self.node(review, node)
        case .leases: try own(review, node)
        default: return
        }
    }

    /// The node itself and its lease have its name.
    private func own(_ review: AdmissionReview, _ node: NodeIdentity) throws(StatusError) {
        guard review.type.storage == .leases else {
            guard review.object.name == node.name else {
                throw review.forbidden("node \"\(node.name)\" is not allowed to modify node \"\(review.object.name)\"")
            }
            return
        }
        guard review.object.namespace == "kube-node-lease" else {
            throw review.forbidden("can only access leases in the \"kube-node-lease\" system namespace")
        }
        guard review.object.name == node.name else {
            throw review.forbidden("can only access node lease with the same name as the requesting node")
        }
    }

    // MARK: Pods

    private func pod(_ review: AdmissionReview, _ node: NodeIdentity) throws(StatusError) {
        let place = review.object["spec"]["nodeName"].string ?? ""
        switch (review.operation, review.subresource) {
        case (.create, ""):
            guard review.object.annotations[Self.mirrorAnnotation] != nil else {
                throw review.forbidden(
                    "pod does not have \"\(Self.mirrorAnnotation)\" annotation, node \"\(node.name)\" can only create "
                        + "mirror pods")
            }
            guard place == node.name else {
                throw review.forbidden("node \"\(node.name)\" can only create pods with spec.nodeName set to itself")
            }
            try mirror(review, node)
        case (.update, "status"):
            guard place == node.name else {
                throw review.forbidden(
                    "node \"\(node.name)\" can only update pod status for pods with spec.nodeName set to itself")
            }
            guard review.object.labels == review.old?.labels ?? [:] else {
                throw review.forbidden("node \"\(node.name)\" cannot update labels through pod status")
            }
        case (_, ""): throw review.forbidden("unexpected operation \"\(review.operation.rawValue)\"")
        case (_, let part):
            throw review.forbidden("unexpected pod subresource \"\(part)\", only 'status' and 'eviction' are allowed")
        }
    }

    /// A pod of a node's own files leads to nothing that the API keeps: a node could read anything through it.
    private func mirror(_ review: AdmissionReview, _ node: NodeIdentity) throws(StatusError) {
        let pod = review.object
        func refuse(_ what: String) -> StatusError {
            review.forbidden("node \"\(node.name)\" can not create pods that reference \(what)")
        }
        if let account = pod["spec"]["serviceAccountName"].string, !account.isEmpty {
            throw refuse("a service account")
        }
        if !PodReferences.secrets(pod).isEmpty { throw refuse("secrets") }
        if !PodReferences.configMaps(pod).isEmpty { throw refuse("configmaps") }
        if !PodReferences.claims(pod).isEmpty { throw refuse("persistentvolumeclaims") }
        let hasTokens = (pod["spec"]["volumes"].array ?? []).contains { volume in
            (volume["projected"]["sources"].array ?? []).contains { $0["serviceAccountToken"].object != nil }
        }
        if hasTokens { throw refuse("service account tokens") }
    }

    /// POST of a pod's `eviction` by a kubelet.
    func checkEviction(_ pod: KubeObject, _ user: UserInfo) throws(StatusError) {
        guard let node = NodeIdentity(user), pod["spec"]["nodeName"].string != node.name else { return }
        throw .forbidden(
            .pods, name: pod.name, "node \"\(node.name)\" can only evict pods with spec.nodeName set to itself")
    }

    /// POST of an account's `token` by a kubelet: only for a pod that it runs.
    func checkToken(_ account: KubeObject, _ reference: JSON?, _ user: UserInfo) throws(StatusError) {
        guard let node = NodeIdentity(user) else { return }
        func refuse(_ why: String) -> StatusError { .forbidden(.serviceAccounts, name: account.name, why) }
        guard reference["kind"].string == "Pod", let name = reference["name"].string else {
            throw refuse("node requested token not bound to a pod")
        }
        guard let uid = reference["uid"].string, !uid.isEmpty else {
            throw refuse("node requested token with a pod binding without a uid")
        }
        guard graph.node(ofPod: name, in: account.namespace ?? "") ?? node.name == node.name else {
            throw refuse("node requested token bound to a pod scheduled on a different node")
        }
    }

    // MARK: Nodes

    private func node(_ review: AdmissionReview, _ node: NodeIdentity) throws(StatusError) {
        try own(review, node)
        guard let old = review.old, review.operation == .update else {
            let labels = NodeLabels.forbidden(Set(review.object.labels.keys))
            guard labels.isEmpty else {
                throw review.forbidden(
                    "node \"\(node.name)\" is not allowed to set the following labels: "
                        + labels.joined(separator: ", "))
            }
            return
        }
        guard review.object["spec"]["taints"] == old["spec"]["taints"] else {
            throw review.forbidden("node \"\(node.name)\" is not allowed to modify taints")
        }
        let keys = Set(review.object.labels.keys).union(old.labels.keys)
        let labels = NodeLabels.forbidden(keys.filter { review.object.labels[$0] != old.labels[$0] })
        guard labels.isEmpty else {
            throw review.forbidden(
                "node \"\(node.name)\" is not allowed to modify labels: \(labels.joined(separator: ", "))")
        }
    }
}

/// Labels by which pods are kept away from nodes must not be for nodes to choose.
private enum NodeLabels {
    private static let own: Set<String> = [
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    ]

    static func forbidden(_ keys: Set<String>) -> [String] { keys.filter(isForbidden).sorted() }

    private static func isForbidden(_ key: String) -> Bool {
        guard let slash = key.firstIndex(of: "/") else { return false }
        let domain = key[..<slash]
        func isOf(_ parent: String) -> Bool { domain == parent || domain.hasSuffix(".\(parent)") }
        if isOf("node-restriction.kubernetes.io") { return true }
        guard isOf("kubernetes.io") || isOf("k8s.io") else { return false }
        return !own.contains(key) && !isOf("kubelet.kubernetes.io") && !isOf("node.kubernetes.io")
    }
}
