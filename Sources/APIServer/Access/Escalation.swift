// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// Nobody gives away more than they hold: roles and bindings are checked against what their writer may do.
    ///
    /// - Parameter old: what `object` replaces; nil for what is new.
    func checkEscalation(
        _ object: KubeObject, old: KubeObject?, _ type: ResourceType, _ user: UserInfo
    ) throws(StatusError) {
        guard type.group == "rbac.authorization.k8s.io", !user.isMaster else { return }
        // The garbage collector must be able to let go of what it could not have written.
        if let old, Self.withoutOwners(object) == Self.withoutOwners(old) { return }
        switch type.storage {
        case .roles, .clusterRoles:
            if holds(user, "escalate", type, object.namespace, object.name) { return }
            try requireCovered(object["rules"].array?.map { PolicyRule($0) } ?? [], object, type, user)
            // What such a role comes to give, others decide later, by labels: who sets its selectors gives everything,
            // and who changes them could keep what was to be taken away.
            guard Self.aggregates(object) || old.map(Self.aggregates) ?? false, !holdsEverything(user, object.namespace)
            else { return }
            throw .forbidden(
                type.resource, name: object.name, "must have cluster-admin privileges to use the aggregationRule")
        case .roleBindings, .clusterRoleBindings:
            let kind = object["roleRef"]["kind"].string ?? ""
            let name = object["roleRef"]["name"].string ?? ""
            let role = kind == "ClusterRole" ? registry.resource(.clusterRoles) : registry.resource(.roles)
            if let role, holds(user, "bind", role, object.namespace, name) { return }
            guard let rules = authorizer.rules(ofRole: kind, name, namespace: object.namespace) else {
                throw .notFound(kind == "ClusterRole" ? .clusterRoles : .roles, name: name)
            }
            try requireCovered(rules, object, type, user)
        default: return
        }
    }

    private static func aggregates(_ role: KubeObject) -> Bool { role["aggregationRule"].object != nil }

    /// Everything but what the garbage collector writes.
    private static func withoutOwners(_ object: KubeObject) -> KubeObject {
        var object = object
        for field in ["ownerReferences", "finalizers", "managedFields"] { object.metadata[field] = nil }
        return object
    }

    private func holdsEverything(_ user: UserInfo, _ namespace: String?) -> Bool {
        let held = authorizer.rules(user, namespace: namespace)
        return PolicyRule.everything.allSatisfy { rule in
            rule.atoms.allSatisfy { atom in held.contains { $0.covers(atom) } }
        }
    }

    private func holds(
        _ user: UserInfo, _ verb: String, _ type: ResourceType, _ namespace: String?, _ name: String
    ) -> Bool {
        authorizer.decide(
            user,
            AccessAttributes(
                verb: verb, group: type.group, version: type.version, resource: type.resource.resource,
                namespace: type.isNamespaced ? namespace ?? "" : "", name: name)
        ).isAllowed
    }

    private func requireCovered(
        _ rules: [PolicyRule], _ object: KubeObject, _ type: ResourceType, _ user: UserInfo
    ) throws(StatusError) {
        let held = authorizer.rules(user, namespace: object.namespace)
        let missing = rules.filter { rule in !rule.atoms.allSatisfy { atom in held.contains { $0.covers(atom) } } }
        guard !missing.isEmpty else { return }
        let list = missing.map { $0.json.text() }.joined(separator: "\n")
        throw .forbidden(
            type.resource, name: object.name,
            "user \"\(user.name)\" (groups=\(JSON(user.groups).text())) is attempting to grant RBAC permissions not "
                + "currently held:\n\(list)")
    }
}
