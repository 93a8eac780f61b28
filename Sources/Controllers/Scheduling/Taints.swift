// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import Values

package struct Taint: Sendable, Hashable {
    package var key: String
    package var value: String
    package var effect: String

    package init(_ key: String, _ value: String = "", effect: String) {
        self.key = key
        self.value = value
        self.effect = effect
    }

    package init(_ json: JSON) {
        self.init(json["key"].string ?? "", json["value"].string ?? "", effect: json["effect"].string ?? "")
    }

    package static let unreachable = "node.kubernetes.io/unreachable"
    package static let notReady = "node.kubernetes.io/not-ready"
    package static let unschedulable = "node.kubernetes.io/unschedulable"
    package static let memoryPressure = "node.kubernetes.io/memory-pressure"
    package static let diskPressure = "node.kubernetes.io/disk-pressure"
    package static let pidPressure = "node.kubernetes.io/pid-pressure"
    package static let networkUnavailable = "node.kubernetes.io/network-unavailable"
}

package struct Toleration: Sendable, Hashable {
    /// Empty: every key.
    package var key: String
    package var exists: Bool
    package var value: String
    /// Empty: every effect.
    package var effect: String
    /// How long a NoExecute taint is borne; nil: for ever.
    package var seconds: Int?

    package init(_ json: JSON) {
        key = json["key"].string ?? ""
        exists = json["operator"].string == "Exists"
        value = json["value"].string ?? ""
        effect = json["effect"].string ?? ""
        seconds = json["tolerationSeconds"].int
    }

    package func tolerates(_ taint: Taint) -> Bool {
        if !effect.isEmpty, effect != taint.effect { return false }
        if !key.isEmpty, key != taint.key { return false }
        if exists { return true }
        return !key.isEmpty && value == taint.value
    }
}

extension Sequence<Toleration> {
    package func tolerate(_ taint: Taint) -> Bool { contains { $0.tolerates(taint) } }
}

extension KubeObject {
    /// `spec.taints` of a node.
    package var taints: [Taint] { (json["spec"]["taints"].array ?? []).map(Taint.init) }
    /// `spec.tolerations` of a pod.
    package var tolerations: [Toleration] { (json["spec"]["tolerations"].array ?? []).map(Toleration.init) }
}

/// When a pod leaves a node for its NoExecute taints.
package enum Eviction: Equatable, Sendable {
    case never
    case now
    /// So many seconds after the taint was first seen.
    case after(Int)

    package static func of(_ tolerations: [Toleration], under taints: [Taint]) -> Eviction {
        var least: Int?
        for taint in taints where taint.effect == "NoExecute" {
            let matching = tolerations.filter { $0.tolerates(taint) }
            if matching.isEmpty { return .now }
            for seconds in matching.compactMap(\.seconds) { least = Swift.min(least ?? Int.max, Swift.max(0, seconds)) }
        }
        return least.map { $0 == 0 ? .now : .after($0) } ?? .never
    }
}
