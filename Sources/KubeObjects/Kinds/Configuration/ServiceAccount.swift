// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let serviceAccount = KindDescription(
        "", "ServiceAccount", strategy: Strategy(answersWithDeleted: true), columns: [.objectName, .age])
}
