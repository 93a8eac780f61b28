// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

/// podman and containerd, without a cluster: what docs/outside.md says.
@Suite(
    .serialized,
    .enabled(
        if: geteuid() == 0
            && ["podman", "ctr", "runc"].allSatisfy {
                Files.exists("/usr/bin/\($0)") || Files.exists("/usr/sbin/\($0)")
            }))
struct OutsideRootTests {
    @Test func podmanAndContainerdGetWorkingAddresses() async throws {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        var spawner = ProcessSpawner("\(root)/scripts/outside", [])
        spawner.environment = [
            "CATBIRD": "\(root)/.build/debug/catbird",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        let output = try await spawner.run()
        #expect(output.status.isSuccess, "\(output.errorText)")
        for runtime in ["podman", "ctr"] { #expect(output.text.contains("\(runtime): "), "\(output.text)") }
    }
}
