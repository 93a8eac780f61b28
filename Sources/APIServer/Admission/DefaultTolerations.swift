// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Pods stay on a node that is lost for five minutes, unless they say otherwise.
struct DefaultTolerations: AdmissionPlugin {
    private static let taints = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    private static let seconds = 300

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.operation == .create, review.type.storage == .pods, review.subresource.isEmpty else { return }
        var tolerations = review.object["spec"]["tolerations"].array ?? []
        for taint in Self.taints {
            let isTolerated = tolerations.contains { toleration in
                let key = toleration["key"].string ?? ""
                let effect = toleration["effect"].string ?? ""
                return (key == taint || key.isEmpty) && (effect == "NoExecute" || effect.isEmpty)
            }
            if !isTolerated {
                tolerations.append([
                    "key": JSON(taint), "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": JSON(Self.seconds),
                ])
            }
        }
        review.object["spec"]["tolerations"] = .array(tolerations)
    }
}
