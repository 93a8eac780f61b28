// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Why a Service selects nothing, and the labels that were probably meant.
struct SelectionJudgement {
    private let cluster: ClusterSnapshot
    private let index: PodIndex
    private let deployments: [String?: [KubeObject]]

    init(_ cluster: ClusterSnapshot, _ index: PodIndex) {
        self.cluster = cluster
        self.index = index
        deployments = Dictionary(grouping: cluster[.deployments], by: \.namespace)
    }

    func finding(_ service: KubeObject, _ selector: [String: String]) -> Finding {
        let namespace = service.namespace ?? "default"
        let wanted = selector.sorted { $0.key < $1.key }
        let text = wanted.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        let (cause, next) =
            nearest(service, wanted) ?? combination(service, wanted) ?? template(service, selector)
            ?? elsewhere(service, selector)
            ?? (
                "no pod in namespace \(namespace) carries \(text)", "kubectl get pods -n \(namespace) --show-labels"
            )
        return Finding(
            "SelectsNothing", object: "service \(service.key)", problem: "selects no pod (selector \(text))",
            cause: cause, nextStep: next)
    }

    private typealias Answer = (cause: String, nextStep: String)

    /// Labels that no pod of the namespace has, each with the nearest one that some have.
    private func nearest(_ service: KubeObject, _ wanted: [(key: String, value: String)]) -> Answer? {
        let namespace = service.namespace ?? ""
        let labels = index.labels(in: namespace)
        var hints: [String] = []
        var change: [String: JSON] = [:]
        for (key, value) in wanted
        where index.count(PodIndex.Label(namespace: namespace, key: key, value: value)) == 0 {
            guard
                let found = NearestLabels.nearest(to: key, value, among: labels.lazy.map { ($0.key, $0.value) })
            else { continue }
            let count = index.count(PodIndex.Label(namespace: namespace, key: found.key, value: found.value))
            hints.append(
                "nearest to \(key)=\(value) is \(found.key)=\(found.value), which \(count) "
                    + "pod\(count == 1 ? " has" : "s have")")
            // A key that is wrong has to go, or the new one stands beside it.
            if found.key != key { change[key] = .null }
            change[found.key] = JSON(found.value)
        }
        guard !hints.isEmpty else { return nil }
        return (hints.joined(separator: "; "), Self.patch(service, change))
    }

    /// Each label is there, but no pod has them all.
    private func combination(_ service: KubeObject, _ wanted: [(key: String, value: String)]) -> Answer? {
        let namespace = service.namespace ?? ""
        let labels = wanted.map { PodIndex.Label(namespace: namespace, key: $0.key, value: $0.value) }
        guard wanted.count > 1, labels.allSatisfy({ index.count($0) > 0 }),
            let rarest = labels.min(by: { index.count($0) < index.count($1) }), let pod = index.first(rarest)
        else { return nil }
        let missing = wanted.filter { pod.labels[$0.key] != $0.value }
        let seen = missing.map { "\($0.key)=\($0.value) (it has \(pod.labels[$0.key] ?? "no such label"))" }
        var change: [String: JSON] = [:]
        for (key, _) in missing { change[key] = pod.labels[key].map { JSON($0) } ?? .null }
        return (
            "no pod carries all of them: \(pod.name) lacks \(seen.joined(separator: ", "))", Self.patch(service, change)
        )
    }

    /// A workload whose pods would be selected, if it had any.
    private func template(_ service: KubeObject, _ selector: [String: String]) -> Answer? {
        for object in deployments[service.namespace] ?? [] {
            let labels = object["spec"]["template"]["metadata"]["labels"].object?.strings ?? [:]
            guard selector.allSatisfy({ labels[$0.key] == $0.value }) else { continue }
            let isZero = object["spec"]["replicas"].int == 0
            return (
                "deployment \(object.name) makes such pods, and \(isZero ? "is scaled to 0" : "has none at present")",
                isZero
                    ? "kubectl scale deployment \(object.name)\(object.inNamespace) --replicas=1"
                    : "kubectl describe deployment \(object.name)\(object.inNamespace)"
            )
        }
        return nil
    }

    /// Pods of another namespace: a selector never reaches them.
    private func elsewhere(_ service: KubeObject, _ selector: [String: String]) -> Answer? {
        for namespace in index.namespaces where namespace != service.namespace {
            guard let pod = index.selected(by: selector, in: namespace).first else { continue }
            return (
                "pod \(pod.key) carries them, in another namespace, and a selector stays in its own",
                "kubectl get pods -n \(namespace) --show-labels"
            )
        }
        return nil
    }

    private static func patch(_ service: KubeObject, _ change: [String: JSON]) -> String {
        let selector = JSON.object(JSONObject(change.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }))
        let patch: JSON = ["spec": ["selector": selector]]
        return "kubectl patch service \(service.name) -n \(service.namespace ?? "default") -p '\(patch.text())'"
    }
}
