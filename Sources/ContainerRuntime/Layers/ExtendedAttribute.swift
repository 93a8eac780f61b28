// SPDX-License-Identifier: Apache-2.0

import CArchive

/// Looks at what unpacking wrote.
package enum ExtendedAttribute {
    /// How many bytes the attribute of a file has, links not followed; nil when it has none of that name.
    package static func size(_ path: String, _ name: String) -> Int? {
        let count = catbird_xattr_size(path, name)
        return count < 0 ? nil : count
    }
}
