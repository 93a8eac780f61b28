// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// What kubelets may do: what the role `system:node` says, but of pods, secrets, maps, claims, volumes and accounts only
/// what concerns pods of their own node.
struct NodeAuthorizer: Sendable {
    let graph: NodeGraph

    private static let reading: Set<String> = ["get", "list", "watch"]

    /// Nil allows it; otherwise why not.
    func refusal(_ node: NodeIdentity, _ access: AccessAttributes) -> String? {
        guard access.path == nil else { return "unknown path" }
        if access.group.isEmpty {
            switch (access.resource, access.subresource) {
            case ("secrets", ""):
                return read(node, access) { graph.uses($0, secret: access.name, in: access.namespace) }
            case ("configmaps", ""):
                return read(node, access) { graph.uses($0, configMap: access.name, in: access.namespace) }
            case ("persistentvolumeclaims", ""):
                return get(node, access) { graph.uses($0, claim: access.name, in: access.namespace) }
            case ("persistentvolumes", ""): return get(node, access) { graph.uses($0, volume: access.name) }
            case ("serviceaccounts", ""):
                return get(node, access) { graph.uses($0, account: access.name, in: access.namespace) }
            case ("serviceaccounts", "token"):
                guard access.verb == "create" else { return "only create is allowed for service account tokens" }
                return related(node, access, graph.uses(node.name, account: access.name, in: access.namespace))
            case ("nodes", "") where Self.reading.contains(access.verb):
                return access.name == node.name
                    ? nil
                    : "node '\(node.name)' cannot read \(access.name.isEmpty ? "all nodes" : "'\(access.name)'"), only its "
                        + "own Node object"
            case ("pods", "") where Self.reading.contains(access.verb): return pods(node, access)
            default: break
            }
        }
        if access.group == "coordination.k8s.io", access.resource == "leases" { return lease(node, access) }
        return BootstrapPolicy.node.contains { $0.allows(access) } ? nil : ""
    }

    private func read(_ node: NodeIdentity, _ access: AccessAttributes, _ isUsed: (String) -> Bool) -> String? {
        guard Self.reading.contains(access.verb) else { return "can only read resources of this type" }
        return named(node, access, isUsed)
    }

    private func get(_ node: NodeIdentity, _ access: AccessAttributes, _ isUsed: (String) -> Bool) -> String? {
        guard access.verb == "get" else { return "can only get individual resources of this type" }
        return named(node, access, isUsed)
    }

    private func named(_ node: NodeIdentity, _ access: AccessAttributes, _ isUsed: (String) -> Bool) -> String? {
        access.name.isEmpty ? "No Object name found" : related(node, access, isUsed(node.name))
    }

    private func related(_ node: NodeIdentity, _ access: AccessAttributes, _ isRelated: Bool) -> String? {
        isRelated ? nil : "no relationship found between node '\(node.name)' and this object"
    }

    private func pods(_ node: NodeIdentity, _ access: AccessAttributes) -> String? {
        if access.verb == "get" {
            return related(node, access, graph.node(ofPod: access.name, in: access.namespace) == node.name)
        }
        let terms = access.fieldSelector.split(separator: ",")
        let isOwn = ["spec.nodeName=\(node.name)", "spec.nodeName==\(node.name)"].contains { wanted in
            terms.contains { $0 == wanted }
        }
        if isOwn { return nil }
        if !access.name.isEmpty, graph.node(ofPod: access.name, in: access.namespace) == node.name { return nil }
        return "can only list/watch pods with spec.nodeName field selector"
    }

    private func lease(_ node: NodeIdentity, _ access: AccessAttributes) -> String? {
        guard access.namespace == "kube-node-lease" else {
            return "can only access leases in the \"kube-node-lease\" system namespace"
        }
        guard ["get", "create", "update", "patch", "delete"].contains(access.verb) else {
            return "can only get, create, update, patch, or delete a node lease"
        }
        // Whose lease is made says the object, at which admission looks.
        if access.verb == "create" || access.name == node.name { return nil }
        return "can only access node lease with the same name as the requesting node"
    }
}
