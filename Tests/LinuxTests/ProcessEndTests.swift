// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Testing

/// Processes that do not heed what they are told.
@Suite(.enabled(if: geteuid() == 0)) struct ProcessEndTests {
    /// Says so when it has come so far.
    private func process(_ script: String) async throws -> ChildProcess {
        var ends = try FileDescriptor.pipe().take()
        var spawner = ProcessSpawner("/bin/sh", ["-c", "\(script); echo >&3; while :; do sleep 1000; done"])
        spawner.descriptors = [3: ends.write]
        let child = try spawner.spawn()
        close(ends.write)
        let reader = ends.read
        _ = try await OwnThread.run(awaiting: { try FileDescriptor.read(reader, upTo: 1) })
        close(reader)
        ends = (-1, -1)
        return child
    }

    @Test func politenessIsEnoughForMost() async throws {
        let child = try await process(":")
        #expect(try await child.end(grace: .seconds(60)) == .signalled(SIGTERM))
    }

    @Test func whoIgnoresItIsKilled() async throws {
        let child = try await process("trap '' TERM")
        #expect(try await child.end(grace: .milliseconds(20)) == .signalled(SIGKILL))
    }

    @Test func whoIsStoppedIsKilled() async throws {
        let child = try await process(":")
        try child.signal(SIGSTOP)
        #expect(await child.wait(upTo: .milliseconds(20)) == nil)
        let summary = try #require(ProcessSummary(pid: child.pid))
        #expect(summary.description.contains("/bin/sh -c"))
        #expect(try await child.end(grace: .milliseconds(20)) == .signalled(SIGKILL))
        #expect(ProcessSummary(pid: child.pid)?.state ?? "Z" == "Z")
    }

    /// Of v1 not even SIGKILL ends what is frozen, be it by its own group or by one above.
    @Test(arguments: [false, true]) func whoIsFrozenIsThawed(above: Bool) async throws {
        let layout = try CgroupLayout.detect()
        let parent = "/catbird-test-\(UInt32.random(in: 0 ... .max))"
        let group = "\(parent)/inner"
        try layout.create(group)
        let child = try await process(":")
        try layout.attach(child.pid, to: group)
        let frozen = above ? parent : group
        for hierarchy in layout.hierarchies {
            let folder = hierarchy.path(of: frozen)
            if Files.exists("\(folder)/freezer.state") { try Files.write("\(folder)/freezer.state", "FROZEN") }
            if layout.mode == .v2 { try Files.write("\(folder)/cgroup.freeze", "1") }
        }
        let summary = try #require(ProcessSummary(pid: child.pid))
        #expect(summary.frozenBy.count == 1 && summary.frozenBy[0].hasSuffix(frozen))
        #expect(summary.description.contains("frozen by \(summary.frozenBy[0])"))
        #expect(try await child.end() == .signalled(SIGKILL))
        try await layout.destroy(parent)
        #expect(!layout.exists(parent))
    }
}
