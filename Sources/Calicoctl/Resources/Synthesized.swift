// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import NetworkModel
import Values

/// Kinds that the Kubernetes datastore does not hold: workload endpoints are pods, profiles are namespaces and service
/// accounts.
enum Synthesized {
    /// The endpoint of a pod; nil for one that has no network of its own, or none yet.
    static func workloadEndpoint(_ pod: KubeObject) -> KubeObject? {
        let use = PodUse(pod)
        guard let node = use.node, !use.isHostNetwork, !use.isFinished else { return nil }
        let namespace = pod.namespace ?? "default"
        let account = pod["spec"]["serviceAccountName"].string ?? "default"
        var labels = pod.labels
        labels["projectcalico.org/namespace"] = namespace
        labels["projectcalico.org/orchestrator"] = "k8s"
        labels["projectcalico.org/serviceaccount"] = account
        var spec: JSON = [
            "orchestrator": "k8s", "node": JSON(node), "pod": JSON(pod.name), "endpoint": "eth0",
            "interfaceName": JSON(IPAMNames.hostInterface(namespace: namespace, pod: pod.name)),
            "ipNetworks": JSON(use.addresses.map { "\(CIDR(host: $0))" }),
            "profiles": ["kns.\(namespace)", "ksa.\(namespace).\(account)"].json,
        ]
        if let container = pod.annotations["cni.projectcalico.org/containerID"], !container.isEmpty {
            spec["containerID"] = JSON(container)
        }
        var metadata: JSON = [
            "name": JSON("\(doubled(node))-k8s-\(doubled(pod.name))-eth0"), "namespace": JSON(namespace),
            "labels": JSON(labels),
        ]
        for key in ["uid", "resourceVersion", "creationTimestamp"] { metadata[key] = pod.metadata[key] }
        return KubeObject([
            "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint", "metadata": metadata, "spec": spec,
        ])
    }

    /// Dashes separate the parts of an endpoint's name: inside of a part they are doubled.
    private static func doubled(_ text: String) -> String {
        text.split(separator: "-", omittingEmptySubsequences: false).joined(separator: "--")
    }

    /// The profile of a namespace (`kns.`) or of a service account (`ksa.`).
    static func profile(_ object: KubeObject) -> KubeObject {
        let isAccount = object.namespace != nil
        let prefix = isAccount ? "pcsa." : "pcns."
        let name = isAccount ? "ksa.\(object.namespace ?? "").\(object.name)" : "kns.\(object.name)"
        var labels: JSON = [:]
        for (key, value) in object.labels.sorted(by: { $0.key < $1.key }) { labels[prefix + key] = JSON(value) }
        var spec: JSON = ["labelsToApply": labels]
        if !isAccount {
            spec["labelsToApply"]["pcns.projectcalico.org/name"] = JSON(object.name)
            spec["ingress"] = [["action": "Allow", "source": [:], "destination": [:]]]
            spec["egress"] = [["action": "Allow", "source": [:], "destination": [:]]]
        }
        var metadata: JSON = ["name": JSON(name)]
        for key in ["uid", "resourceVersion", "creationTimestamp"] { metadata[key] = object.metadata[key] }
        return KubeObject([
            "apiVersion": "projectcalico.org/v3", "kind": "Profile", "metadata": metadata, "spec": spec,
        ])
    }

    /// All objects of a kind that is read from other objects; nil for a kind that is stored.
    static func list(_ kind: ResourceKind, _ client: KubeClient, _ namespace: String?) async throws -> [KubeObject]? {
        switch kind.kind {
        case "WorkloadEndpoint":
            return try await client.list(.pods, in: namespace).items.compactMap(workloadEndpoint)
        case "Profile":
            async let namespaces = client.list(.namespaces).items
            async let accounts = client.list(.serviceAccounts).items
            return try await (namespaces + accounts).map(profile)
        default: return nil
        }
    }
}

extension [String] {
    fileprivate var json: JSON { JSON(self) }
}
