// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Synchronization
import Values

/// Role-based access control over the Roles and bindings of the store.
///
/// The rules are compiled once for each state of these objects; deciding is then a walk over the rules of the subject.
final class RBACAuthorizer: Sendable {
    private struct Grant: Sendable {
        /// Nil for the whole cluster.
        var namespace: String?
        var rules: [PolicyRule]
        var source: String
    }

    private struct Compiled: Sendable {
        var revision: Int64
        var users: [String: [Grant]] = [:]
        var groups: [String: [Grant]] = [:]
        var clusterRoles: [String: [PolicyRule]] = [:]
        var roles: [String: [PolicyRule]] = [:]
    }

    private let mirror: Mirror
    private let compiled = Mutex<Compiled?>(nil)
    private static let resources: [StorageKey] = [
        StorageKey(.roles), StorageKey(.roleBindings), StorageKey(.clusterRoles), StorageKey(.clusterRoleBindings),
    ]

    private let nodes: NodeAuthorizer

    init(mirror: Mirror) {
        self.mirror = mirror
        nodes = NodeAuthorizer(graph: NodeGraph(objects: AdmissionObjects(mirror: mirror)))
    }

    struct Decision: Sendable {
        var isAllowed: Bool
        var reason: String
    }

    func decide(_ user: UserInfo, _ access: AccessAttributes) -> Decision {
        if user.isMaster { return Decision(isAllowed: true, reason: "") }
        var reason = ""
        if let node = NodeIdentity(user) {
            guard let refusal = nodes.refusal(node, access) else { return Decision(isAllowed: true, reason: "") }
            reason = refusal
        }
        for grant in grants(user) where grant.namespace == nil || grant.namespace == access.namespace {
            if grant.namespace != nil, access.path != nil { continue }
            if grant.rules.contains(where: { $0.allows(access) }) {
                return Decision(isAllowed: true, reason: "RBAC: allowed by \(grant.source)")
            }
        }
        return Decision(isAllowed: false, reason: reason)
    }

    func require(_ user: UserInfo, _ access: AccessAttributes) throws(StatusError) {
        let decision = decide(user, access)
        guard decision.isAllowed else { throw access.forbidden(user, decision.reason) }
    }

    /// What somebody may do in a namespace, and in the cluster.
    func rules(_ user: UserInfo, namespace: String?) -> [PolicyRule] {
        if user.isMaster { return PolicyRule.everything }
        let own = NodeIdentity(user) == nil ? [] : BootstrapPolicy.node
        return own + grants(user).filter { $0.namespace == nil || $0.namespace == namespace }.flatMap(\.rules)
    }

    /// The rules of a role that a binding names; nil when there is no such role.
    func rules(ofRole kind: String, _ name: String, namespace: String?) -> [PolicyRule]? {
        let compiled = current()
        return kind == "ClusterRole" ? compiled.clusterRoles[name] : compiled.roles["\(namespace ?? "")/\(name)"]
    }

    private func grants(_ user: UserInfo) -> [Grant] {
        let compiled = current()
        return (compiled.users[user.name] ?? []) + user.groups.flatMap { compiled.groups[$0] ?? [] }
    }

    private func current() -> Compiled {
        let revision = Self.resources.map(mirror.lastChange).max() ?? 0
        if let known = compiled.withLock({ $0 }), known.revision == revision { return known }
        let fresh = compile(revision)
        compiled.withLock { $0 = fresh }
        return fresh
    }

    private func compile(_ revision: Int64) -> Compiled {
        func objects(_ resource: GroupVersionResource) -> [KubeObject] {
            mirror.list(StorageKey(resource)).objects.map { $0.object() }
        }
        var compiled = Compiled(revision: revision)
        let clusterRoles = objects(.clusterRoles)
        for role in clusterRoles {
            var seen: Set<String> = []
            compiled.clusterRoles[role.name] = Self.rules(of: role, among: clusterRoles, &seen)
        }
        for role in objects(.roles) {
            compiled.roles["\(role.namespace ?? "")/\(role.name)"] = role["rules"].array?.map { PolicyRule($0) } ?? []
        }
        for binding in objects(.clusterRoleBindings) + objects(.roleBindings) {
            let kind = binding["roleRef"]["kind"].string ?? ""
            let name = binding["roleRef"]["name"].string ?? ""
            let rules =
                kind == "ClusterRole"
                ? compiled.clusterRoles[name] : compiled.roles["\(binding.namespace ?? "")/\(name)"]
            guard let rules else { continue }
            let place = binding.namespace.map { "RoleBinding \"\(binding.name)/\($0)\"" }
            for subject in binding["subjects"].array ?? [] {
                guard let subjectName = subject["name"].string, let subjectKind = subject["kind"].string else {
                    continue
                }
                let grant = Grant(
                    namespace: binding.namespace, rules: rules,
                    source: "\(place ?? "ClusterRoleBinding \"\(binding.name)\"") of \(kind) \"\(name)\" "
                        + "to \(subjectKind) \"\(subjectName)\"")
                switch subjectKind {
                case "User": compiled.users[subjectName, default: []].append(grant)
                // Nodes have the role by their names, and of it only what concerns them: see `NodeAuthorizer`.
                case "Group" where binding.name == "system:node" && subjectName == UserInfo.Group.nodes: continue
                case "Group": compiled.groups[subjectName, default: []].append(grant)
                case "ServiceAccount":
                    let namespace = subject["namespace"].string ?? binding.namespace ?? ""
                    compiled.users[UserInfo.serviceAccountName(namespace, subjectName), default: []].append(grant)
                default: continue
                }
            }
        }
        return compiled
    }

    /// The rules of a role. An aggregating role has those of all the roles that it selects, before a controller has
    /// written them into it too; roles that select each other end there.
    private static func rules(
        of role: KubeObject, among all: [KubeObject], _ seen: inout Set<String>
    ) -> [PolicyRule] {
        guard seen.insert(role.name).inserted else { return [] }
        var rules = role["rules"].array?.map { PolicyRule($0) } ?? []
        for selector in role["aggregationRule"]["clusterRoleSelectors"].array ?? [] {
            guard let selector = try? LabelSelector(object: selector) else { continue }
            for other in all where selector.matches(other.labels) {
                for rule in Self.rules(of: other, among: all, &seen) where !rules.contains(rule) { rules.append(rule) }
            }
        }
        return rules
    }
}
