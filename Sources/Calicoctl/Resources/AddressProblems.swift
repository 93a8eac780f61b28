// SPDX-License-Identifier: Apache-2.0

import Sessions
import KubeObjects
import NetworkModel

extension Session {
    /// The rules of IPAM's kinds, which the API server asks the same functions about.
    static func addressProblems(_ kind: ResourceKind, _ object: KubeObject, _ pools: [KubeObject]) -> [FieldError] {
        switch kind.resource {
        case .ipPools: IPPoolValidation.validate(object, existing: pools, old: nil)
        default: CalicoRules.problems(kind.resource, object)
        }
    }

    /// What the API server says of an object that it accepts.
    static func addressWarnings(_ kind: ResourceKind, _ object: KubeObject) -> [String] {
        guard kind.resource == .ipPools else { return [] }
        return IPPoolValidation.warnings(object).map { "Warning: \(kind.kind)(\(object.key)): \($0)" }
    }
}
