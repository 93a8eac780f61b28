// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

/// Files of a stopped cluster that are missing or damaged: each is named at once, with what can be done.
extension LifecycleTests {
    private func flip(_ path: String, at offset: Int) throws {
        var bytes = try Files.read(path)
        for index in offset..<offset + 16 { bytes[index] ^= 0x5A }
        try Files.replace(path, with: bytes)
    }

    private func refusal(_ cluster: TestCluster, naming words: String..., restoring: Bool) async throws {
        let refused = try await cluster.attempt(["start"])
        #expect(refused.status == .exited(80), "\(refused.text)")
        for word in words + (restoring ? ["--restore-backup"] : []) {
            #expect(refused.errorText.contains(word), "\(word): \(refused.errorText)")
        }
        #expect(try await cluster.attempt(["status"]).status == .exited(7))
    }

    private func restored(_ cluster: TestCluster, has map: String) async throws {
        let started = try await cluster.attempt(["start", "--restore-backup"])
        #expect(started.status == .exited(0), "\(started.text) \(started.errorText)")
        #expect(started.text.contains("are those of the backup of "), "\(started.text)")
        try await cluster.kubectl("get", "configmap", map)
        try await cluster.catbird("stop")
    }

    @Test func whatIsDamagedIsNamedAndTheBackupBringsItBack() async throws {
        try await withCluster("harm") { cluster in
            let state = "/var/lib/catbird/\(cluster.profile)"
            try await cluster.catbird("start")
            let running = try await cluster.attempt(["start", "--restore-backup"])
            #expect(running.status == .exited(29), "\(running.errorText)")
            try await cluster.kubectl("create", "configmap", "precious")
            try await cluster.catbird("stop")
            #expect(!Files.exists("\(state)/state.db-wal"))
            #expect(Files.exists("\(state)/backup/state.db"))

            for name in ["ca.crt", "ca.key", "sa.key"] {
                unlink("\(state)/pki/\(name)")
                try await refusal(cluster, naming: "\(state)/pki/\(name) is missing", restoring: true)
                try await restored(cluster, has: "precious")
            }
            try Files.replace("\(state)/pki/ca.key", with: "no key".utf8)
            try await refusal(cluster, naming: "\(state)/pki/ca.key is damaged", restoring: true)
            try await restored(cluster, has: "precious")

            try flip("\(state)/state.db", at: 3 * 4096)
            try await refusal(cluster, naming: "\(state)/state.db is damaged", restoring: true)
            try await restored(cluster, has: "precious")
            unlink("\(state)/state.db")
            try await refusal(cluster, naming: "\(state)/state.db is missing or empty", restoring: true)
            try await restored(cluster, has: "precious")
            try Files.removeTree("\(state)/backup")
            unlink("\(state)/state.db")
            try await refusal(cluster, naming: "catbird delete -p \(cluster.profile)", restoring: false)
        }
    }

    @Test func aDamagedLogIsNotPassedOverInSilence() async throws {
        try await withCluster("log") { cluster in
            let state = "/var/lib/catbird/\(cluster.profile)"
            try await cluster.catbird("start")
            try cluster.crashEverything()
            let stopped = try await cluster.attempt(["stop"])
            #expect(stopped.status == .exited(0))
            try await cluster.catbird("start")
            for index in 0..<20 { try await cluster.kubectl("create", "configmap", "map-\(index)") }
            let log = try Files.read("\(state)/state.db-wal")
            let database = try Files.read("\(state)/state.db")
            try await cluster.catbird("stop")
            // As they lay on the disk when the machine was cut off, and one page of the log has been damaged since.
            try Files.replace("\(state)/state.db", with: database)
            try Files.replace("\(state)/state.db-wal", with: log)
            try flip("\(state)/state.db-wal", at: log.count - 12 * (4096 + 24) + 100)
            try await refusal(
                cluster, naming: "\(state)/state.db-wal is damaged at byte", "--accept-loss", restoring: true)
            let started = try await cluster.attempt(["start", "--accept-loss"])
            #expect(started.status == .exited(0), "\(started.text) \(started.errorText)")
            #expect(started.text.contains("behind the damage are lost"), "\(started.text)")
            try await cluster.catbird("stop")
            try await restored(cluster, has: "map-0")
        }
    }

    /// What the authority can make anew is no reason to refuse.
    @Test func certificatesThatAreMissingOrAnothersAreMadeAnew() async throws {
        try await withCluster("anew") { cluster in
            let pki = "/var/lib/catbird/\(cluster.profile)/pki"
            try await cluster.catbird("start")
            try await cluster.catbird("stop")
            unlink("\(pki)/apiserver.key")
            try Files.replace("\(pki)/admin.crt", with: "no certificate".utf8)
            try Files.replace("\(pki)/apiserver-kubelet-client.key", with: Files.read("\(pki)/admin.key"))
            unlink("\(pki)/node-\(cluster.profile).crt")
            let started = try await cluster.catbird("start")
            for (name, reason) in [
                ("apiserver", "its key is missing"), ("admin", "it cannot be read"),
                ("apiserver-kubelet-client", "its key is another's"),
            ] {
                #expect(started.contains("\(pki)/\(name).crt is made anew: \(reason)"), "\(started)")
            }
            try await cluster.deploy()
            try await cluster.kubectl("logs", "deployment/web")
        }
    }
}
