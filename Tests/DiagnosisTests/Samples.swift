// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Diagnosis
import Values

/// Objects as a cluster has them, cut down to what judgements read.
enum Sample {
    static func pod(
        _ name: String, in namespace: String = "default", labels: [String: String] = [:], node: String? = "n",
        isReady: Bool = false, containers: [JSON] = [["name": "c"]], status: JSON = [:]
    ) -> KubeObject {
        var pod = KubeObject(.pods, kind: "Pod", name: name, namespace: namespace, labels: labels)
        pod.json["metadata"]["uid"] = JSON("uid-\(name)")
        if let node { pod["spec"]["nodeName"] = JSON(node) }
        pod["spec"]["containers"] = .array(containers)
        pod["status"] = status
        if isReady { pod["status"]["conditions"] = [["type": "Ready", "status": "True"]] }
        return pod
    }

    /// A pod whose only container is in this state.
    static func pod(
        _ state: JSON, last: JSON = [:], restarts: Int = 0, container: JSON = ["name": "c"], more: JSON = [:]
    )
        -> KubeObject
    {
        var status: JSON = ["name": "c", "image": "shop:v1", "restartCount": JSON(restarts), "state": state]
        if last != [:] { status["lastState"] = ["terminated": last] }
        for (key, value) in more.object?.members ?? [] { status[key] = value }
        return pod(
            "p", containers: [container], status: ["phase": "Pending", "containerStatuses": .array([status])])
    }

    static func node(_ name: String, labels: [String: String] = [:], conditions: [JSON]? = nil, spec: JSON = [:])
        -> KubeObject
    {
        var node = KubeObject(.nodes, kind: "Node", name: name, labels: labels)
        node["spec"] = spec
        node["status"] = ["conditions": .array(conditions ?? [["type": "Ready", "status": "True"]])]
        return node
    }

    static func event(
        of object: KubeObject, _ reason: String, _ message: String, at time: String = "2026-11-30T12:00:00Z"
    ) -> KubeObject {
        KubeObject([
            "reason": JSON(reason), "message": JSON(message), "lastTimestamp": JSON(time),
            "involvedObject": ["uid": JSON(object.uid)],
        ])
    }

    static func service(
        _ name: String, in namespace: String = "default", selector: [String: String], port: JSON = ["port": 80]
    ) -> KubeObject {
        var service = KubeObject(.services, kind: "Service", name: name, namespace: namespace)
        service["spec"] = ["selector": JSON(selector), "ports": .array([port])]
        return service
    }

    static let pool: KubeObject = {
        var pool = KubeObject(.ipPools, kind: "IPPool", name: "all")
        pool["spec"] = ["cidr": "10.0.0.0/16", "nodeSelector": "all()"]
        return pool
    }()

    /// A cluster of one node and one pool, in which nothing is wrong.
    static func cluster(_ more: [GroupVersionResource: [KubeObject]], now: String = "2026-11-30T12:00:10Z")
        -> ClusterSnapshot
    {
        var objects: [GroupVersionResource: [KubeObject]] = [.nodes: [node("n")], .ipPools: [pool]]
        objects.merge(more) { _, new in new }
        return ClusterSnapshot(objects, now: Timestamp(now) ?? .now)
    }
}
