// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What controllers ask of a pod: thin views over its spec and status.
extension KubeObject {
    var podPhase: String { json["status"]["phase"].string ?? "Pending" }
    var nodeName: String? { json["spec"]["nodeName"].string.flatMap { $0.isEmpty ? nil : $0 } }

    /// Succeeded or Failed: no container of it will run again.
    var isPodFinished: Bool {
        let phase = podPhase
        return phase == "Succeeded" || phase == "Failed"
    }

    /// Counts towards the replicas of its controller.
    var isPodActive: Bool { !isBeingDeleted && !isPodFinished }

    var isPodReady: Bool { condition("Ready")["status"].string == "True" }

    /// Ready for at least `minReadySeconds`.
    func isPodAvailable(minReadySeconds: Int, now: Timestamp) -> Bool {
        guard isPodReady else { return false }
        if minReadySeconds <= 0 { return true }
        guard let since = podReadySince else { return false }
        return now.seconds(since: since) >= Double(minReadySeconds)
    }

    var podReadySince: Timestamp? {
        condition("Ready")["lastTransitionTime"].string.flatMap { Timestamp($0) }
    }

    /// The sum of the restarts of all containers.
    var podRestarts: Int {
        (json["status"]["containerStatuses"].array ?? []).reduce(0) { $0 + max(0, $1["restartCount"].int ?? 0) }
    }

    /// The entry of `status.conditions` of that type.
    func condition(_ type: String) -> JSON? {
        json["status"]["conditions"].array?.first { $0["type"].string == type }
    }

    /// Its addresses: `status.podIPs`, or `status.podIP` alone.
    var podIPs: [String] {
        let all = (json["status"]["podIPs"].array ?? []).compactMap { $0["ip"].string }.filter { !$0.isEmpty }
        if !all.isEmpty { return all }
        return json["status"]["podIP"].string.map { $0.isEmpty ? [] : [$0] } ?? []
    }

    /// Manages the object `dependent`, by uid.
    func controls(_ dependent: KubeObject) -> Bool { dependent.controller?.uid == uid }

    /// A reference for `involvedObject`, `targetRef` and the like.
    var reference: JSON {
        var reference: JSON = ["kind": JSON(kind), "name": JSON(name), "uid": JSON(uid)]
        if let namespace { reference["namespace"] = JSON(namespace) }
        return reference
    }

    /// The key without which `status` would mean an old spec.
    var observedGeneration: Int { json["status"]["observedGeneration"].int ?? 0 }
}

/// The order in which pods of a controller are given up: those that serve least come first.
enum DeletionOrder {
    /// True when `left` is deleted before `right`. `crowd` is the number of pods of the same controller on the pod's
    /// node: among equals the more crowded node gives up a pod first.
    static func isBefore(_ left: KubeObject, _ right: KubeObject, crowd: (KubeObject) -> Int = { _ in 0 }) -> Bool {
        if (left.nodeName == nil) != (right.nodeName == nil) { return left.nodeName == nil }
        let phases = ["Pending": 0, "Unknown": 1, "Running": 2]
        let (leftPhase, rightPhase) = (phases[left.podPhase] ?? 2, phases[right.podPhase] ?? 2)
        if leftPhase != rightPhase { return leftPhase < rightPhase }
        if left.isPodReady != right.isPodReady { return !left.isPodReady }
        let (leftCost, rightCost) = (left.deletionCost, right.deletionCost)
        if leftCost != rightCost { return leftCost < rightCost }
        let (leftCrowd, rightCrowd) = (crowd(left), crowd(right))
        if leftCrowd != rightCrowd { return leftCrowd > rightCrowd }
        if left.isPodReady, let leftSince = left.podReadySince, let rightSince = right.podReadySince,
            leftSince != rightSince
        {
            return leftSince > rightSince
        }
        if left.podRestarts != right.podRestarts { return left.podRestarts > right.podRestarts }
        let (leftAge, rightAge) = (left.creationTimestamp, right.creationTimestamp)
        if let leftAge, let rightAge, leftAge != rightAge { return leftAge > rightAge }
        return left.name > right.name
    }
}

extension KubeObject {
    /// Annotation `controller.kubernetes.io/pod-deletion-cost`.
    fileprivate var deletionCost: Int {
        annotations["controller.kubernetes.io/pod-deletion-cost"].flatMap { Int($0) } ?? 0
    }
}
