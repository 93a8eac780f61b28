// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeObjects
import Values

/// Decisions of the scheduler with many pods that wait, on 100 nodes: what one costs must not grow with their number.
enum SchedulerBench {
    private static let nodes = 100

    static func run() async {
        var first: Double?
        for count in [500, 5000] {
            var state = SchedulingState()
            for index in 0..<nodes { _ = state.nodeChanged(node(index, room: 110)) }
            let pods = (0..<count).map { pod($0) }
            let seconds = await Measure.seconds {
                for pod in pods { _ = state.podChanged(pod) }
                var bound = 0
                while let decision = state.next() {
                    guard case .bind(let info, let node) = decision else { continue }
                    // The watch shows the binding.
                    var object = info.pod
                    object["spec"]["nodeName"] = JSON(node)
                    _ = state.podChanged(object)
                    bound += 1
                }
                precondition(bound == count)
            }
            let each = seconds / Double(count) * 1_000_000
            print(
                "scheduler \(count) waiting pods, \(nodes) nodes: \(Measure.text(seconds, 2)) s, \(Measure.text(each, 1)) µs a pod (\(Measure.text(each / (first ?? each))) of 500 pods')"
            )
            first = first ?? each
        }
        // Nothing fits: each pod that is bound elsewhere, and each node that changes, asks who could be helped.
        var state = SchedulingState()
        _ = state.nodeChanged(node(0, room: 0))
        for index in 0..<5000 { _ = state.podChanged(pod(index)) }
        while state.next() != nil {}
        let seconds = await Measure.seconds {
            for index in 0..<1000 {
                var other = pod(10_000 + index)
                other["spec"]["nodeName"] = "n0"
                _ = state.podChanged(other)
            }
        }
        print("scheduler 5000 pods that fit nowhere: \(Measure.text(seconds * 1000, 1)) µs a pod bound by others")
    }

    private static func node(_ index: Int, room: Int) -> KubeObject {
        var node = KubeObject(
            .nodes, kind: "Node", name: "n\(index)",
            labels: ["kubernetes.io/hostname": "n\(index)", "topology.kubernetes.io/zone": "z\(index % 3)"])
        node["status"] = ["allocatable": ["cpu": "64", "memory": "256Gi", "pods": JSON("\(room)")]]
        return node
    }

    private static func pod(_ index: Int) -> KubeObject {
        var pod = KubeObject(.pods, kind: "Pod", name: "p\(index)", namespace: "default", labels: ["app": "web"])
        pod.metadata["uid"] = JSON("u\(index)")
        pod.metadata["ownerReferences"] = [
            [
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": JSON("r\(index % 50)"),
                "controller": true,
            ]
        ]
        pod["spec"] = [
            "containers": [["name": "c", "resources": ["requests": ["cpu": "100m", "memory": "64Mi"]]]]
        ]
        return pod
    }
}
