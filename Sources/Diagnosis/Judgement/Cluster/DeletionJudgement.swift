// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What is being deleted and stays: for its finalizers, or because nobody ends it.
enum DeletionJudgement {
    static func findings(_ cluster: ClusterSnapshot) -> [Finding] {
        var result: [Finding] = []
        for namespace in cluster[.namespaces] where namespace.isBeingDeleted {
            guard let since = namespace.deletionTimestamp, cluster.now.seconds(since: since) > patience else {
                continue
            }
            let reasons = (namespace["status"]["conditions"].array ?? []).filter {
                $0["status"].string == "True" && ($0["type"].string ?? "").hasPrefix("Namespace")
            }.compactMap { $0["message"].string }
            result.append(
                Finding(
                    "NamespaceStays", object: "namespace \(namespace.name)",
                    problem: "is being deleted since \(since)",
                    cause: reasons.isEmpty ? "nobody says what is left in it" : reasons.joined(separator: "; "),
                    nextStep: "kubectl get all,configmaps,secrets -n \(namespace.name)"))
        }
        let others: [(GroupVersionResource, String)] = [
            (.services, "service"), (.deployments, "deployment"), (.daemonSets, "daemonset"),
            (.statefulSets, "statefulset"), (.configMaps, "configmap"), (.secrets, "secret"),
            (.persistentVolumeClaims, "persistentvolumeclaim"), (.ingresses, "ingress"), (.jobs, "job"),
        ]
        for (resource, kind) in others {
            for object in cluster[resource] where object.isBeingDeleted {
                guard let since = object.deletionTimestamp, cluster.now.seconds(since: since) > patience else {
                    continue
                }
                // Those of the garbage collector go by themselves.
                let finalizers = object.finalizers.filter { !["foregroundDeletion", "orphan"].contains($0) }
                if !finalizers.isEmpty { result.append(finding(object, kind, finalizers)) }
            }
        }
        return result
    }

    /// Time for who owns a finalizer to do its work.
    private static let patience = 5.0

    /// A pod that should be gone.
    static func finding(_ pod: KubeObject, _ cluster: ClusterSnapshot, isNodeAway: Bool) -> Finding? {
        guard let deadline = pod.deletionTimestamp else { return nil }
        // `deletionTimestamp` is when its grace is over; a pod whose containers have ended waits for nothing else.
        let isOver = cluster.now.seconds(since: deadline) > patience
        let runs = pod.containerStatuses.contains { $0["state"]["running"] != nil }
        if !pod.finalizers.isEmpty, isOver || !runs { return finding(pod, "pod", pod.finalizers) }
        guard isOver else { return nil }
        let node = pod["spec"]["nodeName"].string ?? ""
        return Finding(
            "StuckDeletion", object: "pod \(pod.key)", problem: "should have been gone at \(deadline)",
            cause: isNodeAway
                ? "its node \(node) is not there to end it"
                : runs ? "its containers do not end" : "its node \(node) has not said that it is gone",
            nextStep: "kubectl delete pod \(pod.name)\(pod.inNamespace) --force --grace-period=0")
    }

    private static func finding(_ object: KubeObject, _ kind: String, _ finalizers: [String]) -> Finding {
        Finding(
            "Finalizers", object: "\(kind) \(object.key)", problem: "is deleted and stays for its finalizers",
            cause: "whoever set \(finalizers.joined(separator: ", ")) has not removed it",
            nextStep: "kubectl patch \(kind) \(object.name)\(object.inNamespace) --type=merge -p "
                + "'{\"metadata\":{\"finalizers\":null}}'")
    }
}
