// SPDX-License-Identifier: Apache-2.0

package import Values

/// The arithmetic of a Deployment: pure, from counts to counts.
package struct RollingUpdate: Equatable, Sendable {
    /// One ReplicaSet as the arithmetic sees it.
    package struct Revision: Equatable, Sendable {
        /// Identifies the ReplicaSet; the arithmetic only carries it along.
        package var name: String
        /// Seconds since 1970: the older revision is scaled down first.
        package var created: Int64 = 0
        /// `spec.replicas`
        package var replicas: Int
        /// `status.availableReplicas`
        package var available: Int = 0
        /// Annotation `deployment.kubernetes.io/max-replicas`: replicas and surge of the Deployment when this was
        /// last scaled.
        package var maxBeforeScale: Int?

        package init(
            name: String, created: Int64 = 0, replicas: Int, available: Int = 0, maxBeforeScale: Int? = nil
        ) {
            self.name = name
            self.created = created
            self.replicas = replicas
            self.available = available
            self.maxBeforeScale = maxBeforeScale
        }
    }

    /// `spec.replicas` of the Deployment.
    package var replicas: Int
    package var maxSurge: Int
    package var maxUnavailable: Int

    /// Reads `spec.strategy`. Both limits zero would never move, so one pod may then be missing.
    package init(spec: JSON?) {
        replicas = max(0, spec["replicas"].int ?? 1)
        let strategy = spec["strategy"]
        guard strategy["type"].string ?? "RollingUpdate" == "RollingUpdate" else {
            (maxSurge, maxUnavailable) = (0, 0)
            return
        }
        let limits = strategy["rollingUpdate"]
        maxSurge = IntOrPercent(limits["maxSurge"] ?? "25%").scaled(to: replicas, roundingUp: true)
        maxUnavailable = IntOrPercent(limits["maxUnavailable"] ?? "25%").scaled(to: replicas, roundingUp: false)
        if maxSurge == 0, maxUnavailable == 0 { maxUnavailable = 1 }
        maxUnavailable = min(maxUnavailable, replicas)
    }

    package init(replicas: Int, maxSurge: Int, maxUnavailable: Int) {
        self.replicas = replicas
        self.maxSurge = maxSurge
        self.maxUnavailable = maxUnavailable
    }

    /// Pods that must go on serving.
    package var minAvailable: Int { replicas - maxUnavailable }
    /// What `max-replicas` says on the ReplicaSets.
    package var maxTotal: Int { replicas + maxSurge }

    /// The size of the new revision now: as far as the surge allows.
    package func newRevisionReplicas(_ new: Int, total: Int) -> Int {
        if new >= replicas { return replicas }
        let room = maxTotal - total
        return room <= 0 ? new : new + min(room, replicas - new)
    }

    /// Sizes of the old revisions now, by name; those that stay as they are are left out.
    ///
    /// Pods that do not serve go first, since nobody misses them; then as many serving ones as availability allows.
    package func oldRevisionReplicas(_ old: [Revision], new: Revision?) -> [String: Int] {
        let newUnavailable = (new?.replicas ?? 0) - (new?.available ?? 0)
        let total = old.reduce(new?.replicas ?? 0) { $0 + $1.replicas }
        var room = total - minAvailable - newUnavailable
        guard room > 0, old.contains(where: { $0.replicas > 0 }) else { return [:] }

        var revisions = old.sorted { ($0.created, $0.name) < ($1.created, $1.name) }
        for index in revisions.indices where room > 0 {
            let unhealthy = revisions[index].replicas - revisions[index].available
            guard revisions[index].replicas > 0, unhealthy > 0 else { continue }
            let fewer = min(room, unhealthy)
            revisions[index].replicas -= fewer
            room -= fewer
        }
        var spare = revisions.reduce(new?.available ?? 0) { $0 + $1.available } - minAvailable
        for index in revisions.indices where spare > 0 && revisions[index].replicas > 0 {
            let fewer = min(spare, revisions[index].replicas)
            revisions[index].replicas -= fewer
            spare -= fewer
        }
        let before = Dictionary(old.map { ($0.name, $0.replicas) }) { first, _ in first }
        return Dictionary(
            revisions.filter { before[$0.name] != $0.replicas }.map { ($0.name, $0.replicas) }
        ) { first, _ in first }
    }

    /// Sizes after the Deployment was scaled in the middle of a rollout: what is added or taken away is shared out
    /// in proportion, the rest goes to the largest.
    package func proportional(_ revisions: [Revision], statusReplicas: Int) -> [String: Int] {
        let total = revisions.reduce(0) { $0 + $1.replicas }
        let change = (replicas > 0 ? maxTotal : 0) - total
        let ordered = revisions.sorted {
            if $0.replicas != $1.replicas { return $0.replicas > $1.replicas }
            return change > 0
                ? ($0.created, $0.name) > ($1.created, $1.name) : ($0.created, $0.name) < ($1.created, $1.name)
        }
        var sizes: [String: Int] = [:]
        var given = 0
        for revision in ordered {
            var share = 0
            if revision.replicas != 0, change != 0, change != given {
                let fair = fairChange(revision, statusReplicas: statusReplicas)
                share = change > 0 ? min(fair, change - given) : max(fair, change - given)
            }
            sizes[revision.name] = revision.replicas + share
            given += share
        }
        if let first = ordered.first, change != given {
            sizes[first.name] = max(0, (sizes[first.name] ?? 0) + change - given)
        }
        return sizes
    }

    private func fairChange(_ revision: Revision, statusReplicas: Int) -> Int {
        if replicas == 0 { return -revision.replicas }
        let before = revision.maxBeforeScale ?? statusReplicas
        guard before > 0 else { return 0 }
        let size = Double(revision.replicas) * Double(maxTotal) / Double(before)
        return Int(size.rounded()) - revision.replicas
    }
}

/// A number or a percentage, as `maxSurge` takes it.
package enum IntOrPercent: Equatable, Sendable {
    case number(Int)
    case percent(Int)

    /// What cannot be read counts as nothing: validation has refused it before.
    package init(_ json: JSON) {
        if let number = json.int {
            self = .number(number)
        } else if let text = json.string, text.hasSuffix("%"), let percent = Int(text.dropLast()) {
            self = .percent(percent)
        } else if let text = json.string, let number = Int(text) {
            self = .number(number)
        } else {
            self = .number(0)
        }
    }

    package func scaled(to total: Int, roundingUp: Bool) -> Int {
        switch self {
        case .number(let number): return max(0, number)
        case .percent(let percent):
            let value = Double(total) * Double(percent) / 100
            // Any number of percent may be asked for.
            return max(0, Int(exactly: value.rounded(roundingUp ? .up : .down)) ?? Int(Int32.max))
        }
    }
}
