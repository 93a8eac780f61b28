// SPDX-License-Identifier: Apache-2.0

import Values

/// Which pools a request may use, in which order, and why the others not.
enum PoolJudge {
    struct Candidate {
        let pool: IPPool
        let reason: String
        var viaFallback: String?
        /// The request names it; its selectors were not asked.
        var isChosen = false
    }

    static func pools(
        _ family: IPFamily, _ request: AddressRequest, _ snapshot: IPAMSnapshot
    ) -> (qualified: [Candidate], rejected: [PoolVerdict]) {
        var qualified: [Candidate] = []
        var rejected: [PoolVerdict] = []
        let labels = request.owner.node.flatMap { snapshot.nodes[$0] } ?? [:]
        for (pool, isChosen) in asked(family, request, snapshot, &rejected) {
            if let reason = unusable(pool, request.use) {
                rejected.append(PoolVerdict(pool.label, reason))
            } else if isChosen {
                let reason = "\(request.choices[family]?.source ?? "the request") names it"
                qualified.append(Candidate(pool: pool, reason: reason, isChosen: true))
            } else {
                switch selection(pool, request, labels) {
                case .success(let reason): qualified.append(Candidate(pool: pool, reason: reason))
                case .failure(let rejection): rejected.append(PoolVerdict(pool.label, rejection.reason))
                }
            }
        }
        return (qualified, rejected)
    }

    /// The pools that exhausted pools lead to: selectors are not asked, as whoever runs the pool named them.
    static func fallbacks(
        of exhausted: [Candidate], _ considered: inout Set<String>, _ request: AddressRequest,
        _ snapshot: IPAMSnapshot, _ verdicts: inout [PoolVerdict]
    ) -> [Candidate] {
        var result: [Candidate] = []
        for candidate in exhausted where !candidate.isChosen {
            for name in candidate.pool.fallbackPools where considered.insert(name).inserted {
                guard let pool = snapshot.pools.first(where: { $0.name == name }) else {
                    verdicts.append(
                        PoolVerdict(name, "\(candidate.pool.name) falls back to it, and there is no such pool"))
                    continue
                }
                // It was judged by its selectors before; what it is now is what counts.
                verdicts.removeAll { $0.pool == pool.label }
                if pool.cidr.family != candidate.pool.cidr.family {
                    verdicts.append(PoolVerdict(pool.label, "it is of another family than \(candidate.pool.name)"))
                } else if let reason = unusable(pool, request.use) {
                    verdicts.append(PoolVerdict(pool.label, reason))
                } else if let reason = wrongNamespace(pool, request) {
                    verdicts.append(PoolVerdict(pool.label, reason))
                } else {
                    result.append(
                        Candidate(
                            pool: pool, reason: "\(candidate.pool.name) falls back to it",
                            viaFallback: candidate.pool.name))
                }
            }
        }
        return result
    }

    struct Rejection: Error { let reason: String }

    /// The pools in the order of preference; those not asked for get their verdict here.
    private static func asked(
        _ family: IPFamily, _ request: AddressRequest, _ snapshot: IPAMSnapshot, _ rejected: inout [PoolVerdict]
    ) -> [(IPPool, isChosen: Bool)] {
        let pools = snapshot.pools.filter { $0.cidr.family == family }.sorted { $0.name < $1.name }
        guard let choice = request.choices[family] else { return pools.map { ($0, false) } }
        var result: [(IPPool, isChosen: Bool)] = []
        for text in choice.pools {
            if let pool = pools.first(where: { $0.name == text || "\($0.cidr)" == text }) {
                if !result.contains(where: { $0.0.name == pool.name }) { result.append((pool, true)) }
            } else if snapshot.pools.contains(where: { $0.name == text || "\($0.cidr)" == text }) {
                rejected.append(PoolVerdict(text, "\(choice.source) names it, and it is no \(family.rawValue) pool"))
            } else {
                rejected.append(
                    PoolVerdict(text, "\(choice.source) names it, and there is no pool of that name or network"))
            }
        }
        for pool in pools where !result.contains(where: { $0.0.name == pool.name }) {
            rejected.append(PoolVerdict(pool.label, "\(choice.source) does not name it"))
        }
        return result
    }

    /// Why nothing may be taken from the pool for this use, whoever asks.
    static func unusable(_ pool: IPPool, _ use: PoolUse) -> String? {
        if pool.isBeingDeleted { return "it is being deleted" }
        if pool.isDisabled { return "it is disabled (spec.disabled is true)" }
        if let message = pool.notAllocatable { return "its status says Allocatable=False: \(message)" }
        guard pool.allowedUses.contains(use) else {
            return
                "its allowedUses (\(pool.allowedUses.map(\.rawValue).joined(separator: ", "))) leave out \(use.rawValue)"
        }
        return nil
    }

    /// Why a pool qualifies by its selectors, or why not.
    static func selection(
        _ pool: IPPool, _ request: AddressRequest, _ labels: [String: String]
    ) -> Result<String, Rejection> {
        func no(_ reason: String) -> Result<String, Rejection> { .failure(Rejection(reason: reason)) }
        if !pool.isAutomatic {
            if request.use == .loadBalancer {
                let key = pool.cidr.family == .v4 ? CalicoKeys.serviceIPv4Pools : CalicoKeys.serviceIPv6Pools
                return no("its assignmentMode is Manual: the Service has to name it in \(key)")
            }
            let key = pool.cidr.family == .v4 ? CalicoKeys.ipv4Pools : CalicoKeys.ipv6Pools
            return no("its assignmentMode is Manual: a pod or namespace has to name it in \(key)")
        }
        let selector = pool.nodeSelector
        guard selector.matches(labels) else {
            return no("its nodeSelector \(selector) does not select the node: \(selector.facts(about: labels))")
        }
        var reason =
            selector.labels.isEmpty
            ? "it is for all nodes"
            : "its nodeSelector \(selector) selects the node: \(selector.facts(about: labels))"
        if let rejection = wrongNamespace(pool, request) { return no(rejection) }
        if let selector = pool.namespaceSelector, request.use == .workload {
            let facts = selector.facts(about: request.namespaceLabels)
            reason += ", and its namespaceSelector \(selector) the namespace: \(facts)"
        }
        return .success(reason)
    }

    private static func wrongNamespace(_ pool: IPPool, _ request: AddressRequest) -> String? {
        guard let selector = pool.namespaceSelector, request.use == .workload,
            !selector.matches(request.namespaceLabels)
        else { return nil }
        let facts = selector.facts(about: request.namespaceLabels)
        return "its namespaceSelector \(selector) does not select namespace \(request.namespace ?? ""): \(facts)"
    }
}
