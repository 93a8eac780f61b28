// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

/// Whatever a shell is like that a cluster is started from.
extension LifecycleTests {
    @Test func pathsOfOtherLettersAndAHomeThatCannotBeWritten() async throws {
        let folder = "/tmp/cat\(getpid()) Zustände 猫"
        let line = try CommandLine()
        defer {
            line.remove()
            try? Files.removeTree(folder)
        }
        let profile = "t-odd-\(getpid())"
        var surroundings = [
            "CATBIRD_STATE_DIR": "\(folder)/é", "CATBIRD_RUN_DIR": "\(folder)/r", "HOME": "\(folder)/heim, at: home",
            "TMPDIR": "\(folder)/tmp=ü", "KUBECONFIG": "", "LC_ALL": "ja_JP.eucJP", "LANG": "de_DE.UTF-8",
        ]
        for name in ["heim, at: home", "tmp=ü"] { try Files.makeDirectories("\(folder)/\(name)") }
        func run(_ words: String...) async throws -> ProcessOutput {
            try await line.run(words + ["-p", profile], surroundings)
        }
        do {
            let started = try await run("start", "--nodes", "2")
            #expect(started.status == .exited(0), "\(started.text) \(started.errorText)")
            // The locale has no UTF-8, and there is no terminal.
            #expect(started.text.utf8.allSatisfy { $0 < 0x80 }, "\(started.text)")
            #expect(Files.exists("\(folder)/heim, at: home/.kube/config"))
            #expect(try await run("status").status == .exited(0))
            let listed = try await line.run(["profile", "list"], surroundings)
            #expect(
                listed.text.utf8.allSatisfy { $0 < 0x80 } && listed.text.contains("| \(profile) "), "\(listed.text)")
            #expect(try await run("stop").status == .exited(0))
            surroundings["HOME"] = "/proc"
            let again = try await run("start")
            #expect(again.status == .exited(0), "\(again.text) \(again.errorText)")
            #expect(again.text.contains("/proc/.kube/config cannot be written"), "\(again.text)")
            surroundings["KUBECONFIG"] = "\(folder)/kubeconfig 猫"
            #expect(try await run("update-context").status == .exited(0))
            #expect(Files.exists("\(folder)/kubeconfig 猫"))
            surroundings["LC_ALL"] = ""
            #expect(try await run("update-context").text.contains("🎉"))
        } catch {
            _ = try? await run("delete")
            throw error
        }
        let deleted = try await run("delete")
        #expect(deleted.status == .exited(0), "\(deleted.errorText)")
        #expect(!Files.exists("\(folder)/é/\(profile)") && !Files.exists("\(folder)/r"))
    }

    @Test func withoutAHomeTheOneThatTheMachineHasNoted() async throws {
        let line = try CommandLine()
        defer { line.remove() }
        let script = "unset HOME KUBECONFIG; exec \"$0\" start --dry-run -p lab"
        let output = try await ProcessSpawner("/bin/sh", ["-c", script, line.program]).run()
        #expect(output.status == .exited(0), "\(output.errorText)")
        let tooLong = try await line.run(
            ["delete", "-p", "lab"], ["CATBIRD_RUN_DIR": "/tmp/" + String(repeating: "x", count: 100)])
        #expect(tooLong.status == .exited(14) && tooLong.errorText.contains("CATBIRD_RUN_DIR"), "\(tooLong.errorText)")
    }
}
