// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Gives a ClusterRole with an aggregation rule the rules of all the roles that it selects.
struct ClusterRoleAggregation: Controller {
    let context: ControllerContext
    private let queue = WorkQueue<String>("ClusterRoleAggregator")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        let roles = context.caches.clusterRoles
        roles.onChange { _ in
            // Few roles aggregate, and what they gain from another is not seen in that one alone.
            for role in roles.all where role.aggregates { queue.add(role.name) }
        }
    }

    func run() async { await queue.run(workers: 2) { name in try await reconcile(name) } }

    private func reconcile(_ name: String) async throws {
        let roles = context.caches.clusterRoles
        guard let role = roles[ObjectKey(nil, name)], role.aggregates, !role.isBeingDeleted else { return }
        let rules = Self.rules(of: role, among: roles.all)
        guard rules != role["rules"].array ?? [] else { return }
        do {
            try await roles.patch(
                role, ["metadata": ["resourceVersion": JSON(role.resourceVersion)], "rules": .array(rules)])
        } catch let error as APIError where error.isNotFound {
            // Deleted meanwhile.
        }
    }

    /// The rules of the selected roles, by the selectors and the roles' names, each once.
    static func rules(of role: KubeObject, among all: [KubeObject]) -> [JSON] {
        let others = all.filter { $0.name != role.name }.sorted { $0.name < $1.name }
        var rules: [JSON] = []
        var known = Set<JSON>()
        for selector in role["aggregationRule"]["clusterRoleSelectors"].array ?? [] {
            guard let selector = try? LabelSelector(object: selector) else { continue }
            for other in others where selector.matches(other.labels) {
                for rule in other["rules"].array ?? [] where known.insert(rule).inserted { rules.append(rule) }
            }
        }
        return rules
    }
}

extension KubeObject {
    fileprivate var aggregates: Bool { json["aggregationRule"]["clusterRoleSelectors"].array?.isEmpty == false }
}
