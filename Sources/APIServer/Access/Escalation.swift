// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension APIServer {
    /// Nobody gives away more than they hold: roles and bindings are checked against what their writer may do.
    func checkEscalation(_ object: KubeObject, _ type: ResourceType, _ user: UserInfo) throws(StatusError) {
        guard type.group == "rbac.authorization.k8s.io", !user.isMaster else { return }
        switch type.storage {
        case .roles, .clusterRoles:
            if holds(user, "escalate", type, object.namespace, object.name) { return }
            try requireCovered(object["rules"].array?.map { PolicyRule($0) } ?? [], object, type, user)
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
