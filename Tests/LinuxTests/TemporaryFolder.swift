// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux

/// A folder that goes away with everything mounted in it.
struct TemporaryFolder: ~Copyable {
    let path: String

    init() throws {
        path = "/tmp/catbird-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories(path, mode: 0o700)
    }

    deinit {
        try? Mounts.unmountAll(below: path)
        try? Files.removeTree(path)
    }
}
