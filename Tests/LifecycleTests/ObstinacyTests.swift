// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

/// Processes that stand still, and things that stand in the way.
extension LifecycleTests {
    @Test func whatStandsStillIsEndedAllTheSame() async throws {
        try await withCluster("still") { cluster in
            try await cluster.catbird("start", "--nodes", "2")
            for name in ["supervisor", "controlplane", "node-\(cluster.profile)"] {
                kill(try cluster.process(name), SIGSTOP)
            }
            let layout = try CgroupLayout.detect()
            let node = "/catbird/\(cluster.profile)/\(cluster.profile)-m02"
            for hierarchy in layout.hierarchies {
                let folder = hierarchy.path(of: "\(node)/system")
                if Files.exists("\(folder)/freezer.state") { try Files.write("\(folder)/freezer.state", "FROZEN") }
                if layout.mode == .v2 { try Files.write("\(folder)/cgroup.freeze", "1") }
            }
            let status = try await cluster.attempt(["status"])
            #expect(status.errorText.contains("does not answer"), "\(status.errorText)")
            let stopped = try await cluster.attempt(["stop"])
            #expect(stopped.status == .exited(0), "\(stopped.errorText)")
            #expect(stopped.text.contains("supervisor does not answer"), "\(stopped.text)")
            #expect(stopped.text.contains("stopped (SIGSTOP"), "\(stopped.text)")
            try await cluster.catbird("start")
        }
    }

    @Test func supervisorAndGuardThatDieTogetherComeBack() async throws {
        try await withCluster("both") { cluster in
            try await cluster.catbird("start")
            let before = try cluster.process("controlplane")
            let (supervisor, guardian) = (try cluster.process("supervisor"), try cluster.process("guard"))
            let changes = try Inotify()
            try changes.add("/run/catbird/\(cluster.profile)/pids")
            kill(guardian, SIGKILL)
            kill(supervisor, SIGKILL)
            for await _ in changes.events {
                if let new = try? cluster.process("supervisor"), new != supervisor,
                    let second = try? cluster.process("guard"), second != guardian
                {
                    break
                }
            }
            // It works in the machine's network, and not in that of the control plane, which started it.
            #expect(try cluster.process("controlplane") == before)
            #expect(
                try Files.target(ofLink: "/proc/\(cluster.process("supervisor"))/ns/net")
                    == Files.target(ofLink: "/proc/self/ns/net"))
            try await cluster.catbird("node", "add")
            #expect(try await cluster.nodes().contains("\(cluster.profile)-m02"))
        }
    }

    @Test func whatCannotBeBroughtUpIsTriedAgain() async throws {
        try await withCluster("again") { cluster in
            try await cluster.catbird("start")
            let state = "/var/lib/catbird/\(cluster.profile)/nodes/\(cluster.profile)/root"
            let obstacle = "\(state)/var/lib/kubelet/kubeconfig"
            try Files.removeTree(obstacle)
            try Files.makeDirectories(obstacle)
            try await cluster.crash("supervisor")
            let failed = try await cluster.attempt(["start"])
            #expect(failed.status == .exited(80), "\(failed.text)")
            #expect(failed.errorText.contains("kubeconfig"), "\(failed.errorText)")
            let status = try await cluster.attempt(["status"])
            #expect(status.errorText.contains("could not be brought up in"), "\(status.errorText)")
            #expect(status.errorText.contains(obstacle), "\(status.errorText)")
            try Files.removeTree(obstacle)
            let mended = try await cluster.attempt(["start"])
            #expect(mended.status == .exited(0), "\(mended.text) \(mended.errorText)")
            #expect(try await cluster.attempt(["status"]).status == .exited(0))
        }
    }
}
