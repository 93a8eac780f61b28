// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
import Values

/// What judgements look up again and again, found once: each object of the snapshot is visited once.
struct PodIndex {
    /// One `key=value` of a namespace.
    struct Label: Hashable {
        let namespace: String
        let key: String
        let value: String
    }

    let pods: [KubeObject]
    /// Places in `pods` by label, in order. Pods that have ended serve nobody and are left out.
    private let byLabel: [Label: [Int]]
    /// The different labels of each namespace, but for those that differ from pod to pod.
    private let labels: [String: Set<Label>]
    private let events: [String: [KubeObject]]
    private let replicaSets: [String: KubeObject]
    private let owned: [String: [Int]]

    init(_ cluster: ClusterSnapshot) {
        var pods: [KubeObject] = []
        var byLabel: [Label: [Int]] = [:]
        var labels: [String: Set<Label>] = [:]
        var owned: [String: [Int]] = [:]
        for pod in cluster.pods {
            let place = pods.count
            pods.append(pod)
            if let owner = pod.controller { owned[owner.uid, default: []].append(place) }
            guard !pod.hasEnded else { continue }
            let namespace = pod.namespace ?? ""
            for (key, value) in pod.labels {
                let label = Label(namespace: namespace, key: key, value: value)
                byLabel[label, default: []].append(place)
                if !Self.individual.contains(key) { labels[namespace, default: []].insert(label) }
            }
        }
        self.pods = pods
        self.byLabel = byLabel
        self.labels = labels
        self.owned = owned
        events = Dictionary(grouping: cluster[.events]) { $0["involvedObject"]["uid"].string ?? "" }
        replicaSets = Dictionary(cluster[.replicaSets].map { ($0.uid, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Labels that controllers give to each pod or template of its own.
    private static let individual: Set<String> = [
        "pod-template-hash", "controller-revision-hash", "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index", "controller-uid", "batch.kubernetes.io/controller-uid",
    ]

    /// The pods of a namespace that carry all the labels. The rarest label is looked up, and what it finds is tried.
    func selected(by selector: [String: String], in namespace: String) -> [KubeObject] {
        let lists = selector.map { byLabel[Label(namespace: namespace, key: $0.key, value: $0.value)] ?? [] }
        guard let rarest = lists.min(by: { $0.count < $1.count }) else { return [] }
        return rarest.lazy.map { pods[$0] }
            .filter { pod in
                let labels = pod.labels
                return selector.allSatisfy { labels[$0.key] == $0.value }
            }
    }

    func count(_ label: Label) -> Int { byLabel[label]?.count ?? 0 }
    func first(_ label: Label) -> KubeObject? { byLabel[label]?.first.map { pods[$0] } }
    func labels(in namespace: String) -> Set<Label> { labels[namespace] ?? [] }
    var namespaces: [String] { labels.keys.sorted() }

    /// The pods that the object manages.
    func owned(by uid: String) -> [KubeObject] { (owned[uid] ?? []).map { pods[$0] } }

    /// The latest event of the object with one of the reasons, whose message begins as said.
    func event(_ uid: String, _ reasons: String..., prefix: String = "") -> KubeObject? {
        (events[uid] ?? []).filter {
            reasons.contains($0["reason"].string ?? "") && ($0["message"].string ?? "").hasPrefix(prefix)
        }.max { Self.time($0) < Self.time($1) }
    }

    func message(_ uid: String, _ reasons: String..., prefix: String = "") -> String? {
        reasons.compactMap { event(uid, $0, prefix: prefix) }.max { Self.time($0) < Self.time($1) }
            .flatMap { $0["message"].string }?.trimmed
    }

    private static func time(_ event: KubeObject) -> String {
        event["lastTimestamp"].string ?? event["eventTime"].string ?? event.metadata["creationTimestamp"].string ?? ""
    }

    /// What one edits to change the pod: its Deployment, ReplicaSet or DaemonSet; nil for a pod of its own.
    func template(of pod: KubeObject) -> (kind: String, name: String)? {
        guard let owner = pod.controller else { return nil }
        if owner.kind == "ReplicaSet", let deployment = replicaSets[owner.uid]?.controller {
            return (deployment.kind.lowercased(), deployment.name)
        }
        return (owner.kind.lowercased(), owner.name)
    }
}

extension KubeObject {
    /// A condition of the status.
    func condition(_ type: String) -> JSON? {
        self["status"]["conditions"].array?.first { $0["type"].string == type }
    }

    /// Has run to its end: it serves nobody any more.
    var hasEnded: Bool { ["Succeeded", "Failed"].contains(self["status"]["phase"].string ?? "") }

    package var isReady: Bool { condition("Ready")["status"].string == "True" }

    /// ` -n NAMESPACE` for commands.
    var inNamespace: String { namespace.map { " -n \($0)" } ?? "" }
}

extension String {
    /// Without white space at the ends.
    var trimmed: String {
        var text = self[...]
        while text.last?.isWhitespace == true { text.removeLast() }
        while text.first?.isWhitespace == true { text.removeFirst() }
        return String(text)
    }

    /// What stands between the first two double quotes after `start`.
    func quoted(after start: String) -> String? {
        guard let found = firstRange(of: start) else { return nil }
        let parts = self[found.upperBound...].split(
            separator: "\"", maxSplits: 2, omittingEmptySubsequences: false)
        return parts.count == 3 ? String(parts[1]) : nil
    }

    /// As one word of a shell's command line.
    var shellQuoted: String {
        let plain = !isEmpty && allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_./:=,@%+".contains($0)) }
        return plain
            ? self : "'" + split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
