// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Objects that are read by one and replaced by another.
final class ListedState: Sendable {
    private let value = Mutex(IPAMObjects())

    var objects: IPAMObjects {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}
