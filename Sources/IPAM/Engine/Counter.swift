// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A result that work done elsewhere leaves for who waits for it.
final class Counter<Value: Sendable>: Sendable {
    private let state: Mutex<Value>

    init(_ value: Value) { state = Mutex(value) }

    var value: Value {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}
