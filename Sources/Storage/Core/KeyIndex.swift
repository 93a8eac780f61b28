// SPDX-License-Identifier: Apache-2.0

/// The present keys in the order of their bytes.
typealias KeyIndex = SortedEntries<KeyValue>
