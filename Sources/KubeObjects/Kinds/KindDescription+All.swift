// SPDX-License-Identifier: Apache-2.0

extension KindDescription {
    /// The kinds that have something special about them.
    static let all: [KindDescription] = []
}
