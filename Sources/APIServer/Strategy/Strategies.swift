// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What a kind's objects are like at first, and what the server itself writes into them.
enum Strategies {
    /// A new object has the status that the server gives it, not the one that the client sent.
    static func prepareForCreate(_ object: inout KubeObject, _ type: ResourceType) {
        switch type.storage {
        case .pods: PodStrategy.prepareForCreate(&object)
        case .namespaces: NamespaceStrategy.prepareForCreate(&object)
        // A kubelet registers its node with the status it found.
        case .nodes: break
        case .secrets: SecretStrategy.prepare(&object)
        case .services: object["status"] = ["loadBalancer": [:]]
        default:
            guard type.subresource("status") != nil else { return }
            let usual: JSON? = type.isCustom || object["spec"] == nil ? Optional<JSON>.none : .object([:])
            object["status"] = initialStatus[type.storage.groupResource] ?? usual
        }
    }

    static func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, _ type: ResourceType) {
        switch type.storage {
        case .namespaces: NamespaceStrategy.prepareForUpdate(&object, old: old)
        case .secrets: SecretStrategy.prepare(&object)
        default: break
        }
    }

    /// Members of a status that clients take for granted.
    private static let initialStatus: [String: JSON] = [
        "replicasets.apps": ["replicas": 0],
        "replicationcontrollers": ["replicas": 0],
        "statefulsets.apps": ["replicas": 0, "availableReplicas": 0],
        "daemonsets.apps": [
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
        ],
        "poddisruptionbudgets.policy": [
            "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
        ],
        "persistentvolumeclaims": ["phase": "Pending"],
        "persistentvolumes": ["phase": "Pending"],
        "ingresses.networking.k8s.io": ["loadBalancer": [:]],
        "horizontalpodautoscalers.autoscaling": ["desiredReplicas": 0],
    ]
}

enum NamespaceStrategy {
    private static let nameLabel = "kubernetes.io/metadata.name"

    static func prepareForCreate(_ object: inout KubeObject) {
        object["status"] = ["phase": "Active"]
        object["spec"]["finalizers"] = ["kubernetes"]
        object.metadata["labels"][nameLabel] = JSON(object.name)
    }

    static func prepareForUpdate(_ object: inout KubeObject, old: KubeObject) {
        object["spec"]["finalizers"] = old["spec"]["finalizers"]
        object.metadata["labels"][nameLabel] = JSON(object.name)
    }
}

enum SecretStrategy {
    /// `stringData` is written only: it ends up in `data`.
    static func prepare(_ object: inout KubeObject) {
        if let plain = object["stringData"].object {
            for (key, value) in plain { object["data"][key] = JSON(Base64.text(Array((value.string ?? "").utf8))) }
        }
        object["stringData"] = nil
        if object["type"].string?.isEmpty ?? true { object["type"] = "Opaque" }
    }
}
