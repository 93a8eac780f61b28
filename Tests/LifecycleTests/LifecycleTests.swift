// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

/// Real clusters from start to delete, by the commands that users type.
@Suite(.serialized, .enabled(if: geteuid() == 0))
struct LifecycleTests {
    /// Runs `body` on a new cluster's profile, deletes it, and holds what is left against it.
    func withCluster(_ name: String, _ body: (TestCluster) async throws -> Void) async throws {
        let cluster = try await TestCluster(name)
        do {
            try await body(cluster)
            try await cluster.catbird("delete")
            let leftovers = try await cluster.leftovers()
            #expect(leftovers == [])
        } catch {
            try await cluster.remove()
            throw error
        }
        try await cluster.remove()
    }

    @Test func startedStoppedAndStartedAgainItIsTheSameCluster() async throws {
        try await withCluster("life") { cluster in
            try await cluster.catbird("start", "--nodes", "2")
            let again = try await cluster.attempt(["start"])
            #expect(again.status == .exited(0))
            #expect((again.text + again.errorText).contains("is running already"))
            try await cluster.deploy()
            let nodes = try await cluster.nodes()
            let uid = try await cluster.kubectl("get", "deployment", "web", "-o", "jsonpath={.metadata.uid}")
            try await cluster.catbird("stop")
            #expect(try await cluster.attempt(["status"]).status != .exited(0))
            try await cluster.catbird("start")
            #expect(try await cluster.nodes() == nodes)
            #expect(
                try await cluster.kubectl("get", "deployment", "web", "-o", "jsonpath={.metadata.uid}") == uid)
            try await cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        }
    }

    @Test func nodesComeAndGoWhileItRuns() async throws {
        try await withCluster("nodes") { cluster in
            try await cluster.catbird("start", "--nodes", "1")
            try await cluster.catbird("node", "add")
            let added = "\(cluster.profile)-m02"
            #expect(try await cluster.nodes().contains(added))
            #expect(try await cluster.catbird("node", "list").contains(added))
            try await cluster.catbird("node", "stop", added)
            let examined = try await cluster.attempt(["doctor"])
            #expect(examined.status == .exited(1))
            #expect(examined.text.contains("node \(added): is stopped"))
            try await cluster.catbird("node", "start", added)
            try await cluster.kubectl("wait", "--for=condition=Ready", "node/\(added)", "--timeout=60s")
            try await cluster.catbird("node", "delete", added)
            #expect(try await !cluster.nodes().contains(added))
        }
    }

    /// On a cluster that is there for another test: a new one takes longer than what is tried.
    private func copiesAreWholeOrNone(_ cluster: TestCluster, node: String) async throws {
        let file = "\(cluster.folder)/kept"
        try Files.replace(file, with: Array("kept".utf8), mode: 0o640)
        #expect(try await cluster.attempt(["cp", "\(node):/none", file]).status != .exited(0))
        #expect(try Files.text(file) == "kept")
        try await cluster.catbird("cp", "\(node):/etc/hostname", file)
        #expect(try Files.text(file).hasPrefix(node))
        let fresh = "\(cluster.folder)/fresh"
        #expect(try await cluster.attempt(["cp", "\(node):/none", fresh]).status != .exited(0))
        #expect(!Files.exists(fresh))
        #expect(try Files.list(cluster.folder).allSatisfy { !$0.name.contains(".catbird-") })
    }

    @Test func startsAndStopsOfANodeComeAfterEachOther() async throws {
        try await withCluster("turns") { cluster in
            try await cluster.catbird("start", "--nodes", "2")
            let node = "\(cluster.profile)-m02"
            try await copiesAreWholeOrNone(cluster, node: node)
            // A stop takes a second or more, and the start comes while it is on its way.
            for _ in 0..<3 {
                async let stop = cluster.attempt(["node", "stop", node])
                async let start = cluster.attempt(["node", "start", node])
                let outcomes = try await [stop, start]
                for outcome in outcomes { #expect(outcome.status == .exited(0), "\(outcome.errorText)") }
                let last = try await cluster.attempt(["node", "start", node])
                #expect(last.status == .exited(0), "\(last.errorText)")
                try await cluster.kubectl("wait", "--for=condition=Ready", "node/\(node)", "--timeout=60s")
                // Its process lives in the namespaces that the node has now, and was not started for nothing.
                let process = try cluster.process("node-\(node)")
                let first = try cluster.initProcess(of: node)
                #expect(
                    try Files.target(ofLink: "/proc/\(process)/ns/net")
                        == Files.target(ofLink: "/proc/\(first)/ns/net"))
            }
        }
    }

    @Test func whateverIsKilledComesBackAndPodsNoticeNothing() async throws {
        try await withCluster("kill") { cluster in
            try await cluster.catbird("start", "--nodes", "2")
            try await cluster.deploy()
            let pods = try await cluster.pods()
            for name in ["supervisor", "guard", "controlplane", "node-\(cluster.profile)-m02"] {
                try await cluster.crash(name)
                try await cluster.waitForAPI()
                #expect(try await cluster.pods() == pods, "after \(name) was killed")
            }
            try await cluster.kubectl("scale", "deployment/web", "--replicas=4")
            try await cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        }
    }

    @Test func deleteClearsUpAfterEverythingWasKilled() async throws {
        try await withCluster("dead") { cluster in
            try await cluster.catbird("start", "--nodes", "2")
            try await cluster.deploy()
            try cluster.crashEverything()
        }
    }

    @Test func whatCannotStartLeavesNothing() async throws {
        try await withCluster("half") { cluster in
            let refused = try await cluster.attempt(["start", "--nodes", "0"])
            #expect(refused.status == .exited(14))
            #expect(refused.errorText.contains("--nodes 0 is out of range"))
            #expect(try await cluster.leftovers() == [])
            #expect(try await cluster.attempt(["status"]).status == .exited(85))
            // The profile's own folder stands in the way of the new one.
            try Files.makeDirectories("/var/lib/catbird")
            try Files.touch("/var/lib/catbird/\(cluster.profile)")
            let blocked = try await cluster.attempt(["start"])
            #expect(blocked.status != .exited(0))
            #expect(blocked.errorText.contains("/var/lib/catbird/\(cluster.profile)"))
            try Files.removeTree("/var/lib/catbird/\(cluster.profile)")
            #expect(try await cluster.leftovers() == [])
            try await cluster.catbird("start")
        }
    }

    @Test func aFullDiskIsNamedAndNothingIsLeft() async throws {
        try await withCluster("full") { cluster in
            let state = "/var/lib/catbird/\(cluster.profile)"
            try Files.makeDirectories(state)
            try Mounts.tmpfs(onto: state, size: "256k")
            let refused = try await cluster.attempt(["start"])
            #expect(try Files.list(state).map(\.name) == [])
            try Mounts.unmount(state)
            try Files.removeTree(state)
            #expect(refused.status == .exited(26))
            #expect(refused.errorText.contains("The disk of \(state) is full"), "\(refused.errorText)")
            #expect(refused.errorText.contains("df -h \(state)"))
            #expect(try await cluster.leftovers() == [])
        }
    }

    @Test func withoutAnyPoolItStartsAndSaysWhyThereAreNoNames() async throws {
        try await withCluster("pool") { cluster in
            try await cluster.catbird("start")
            try await cluster.kubectl("delete", "ippools.projectcalico.org", "--all")
            try await cluster.catbird("stop")
            let started = try await cluster.attempt(["start"])
            #expect(started.status == .exited(0))
            #expect(
                (started.text + started.errorText).contains("DNS does not answer: there is no IP pool"),
                "\(started.text) \(started.errorText)")
        }
    }
}
