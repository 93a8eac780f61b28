// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

/// The program that was built beside the tests, with state of its own: no cluster is started.
struct CommandLine {
    let folder: String
    let program: String

    init() throws {
        folder = "/tmp/catbird-command-line-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        program = "\(Files.directory(of: try Files.target(ofLink: "/proc/self/exe")))/catbird"
        for name in ["state", "run", "victim"] { try Files.makeDirectories("\(folder)/\(name)") }
    }

    func run(_ words: [String], _ environment: [String: String] = [:]) async throws -> ProcessOutput {
        var all = ProcessSpawner.ownEnvironment
        all["CATBIRD_STATE_DIR"] = "\(folder)/state"
        all["CATBIRD_RUN_DIR"] = "\(folder)/run"
        all["KUBECONFIG"] = "\(folder)/kubeconfig"
        return try await ProcessSpawner(program, words, environment: all.merging(environment) { _, new in new }).run()
    }

    func remove() { try? Files.removeTree(folder) }
}

extension LifecycleTests {
    @Suite(.enabled(if: geteuid() == 0)) struct CommandLineTests {
        private func withCommandLine(_ body: (CommandLine) async throws -> Void) async throws {
            let line = try CommandLine()
            defer { line.remove() }
            try await body(line)
        }

        /// The verbs that take a profile. What follows them is enough to get past the rest of their command line.
        private static let verbs: [[String]] = [
            ["start"], ["stop"], ["delete"], ["status"], ["ip"], ["ssh", "--", "true"], ["logs"], ["doctor"],
            ["node", "list"], ["node", "add"], ["node", "stop", "m02"], ["node", "start", "m02"],
            ["node", "delete", "m02"],
            ["service", "web"], ["service", "list"], ["tunnel"], ["cp", "/etc/hostname", "/x"],
            ["kubectl", "get", "pods"],
            ["profile"], ["profile", "list"], ["image", "ls"], ["supervise"], ["supervise", "--guard"],
            ["controlplane"],
        ]

        @Test(arguments: verbs)
        func noVerbTakesANameThatIsNone(verb: [String]) async throws {
            try await withCommandLine { line in
                try Files.replace("\(line.folder)/victim/file", with: "precious".utf8)
                try Files.replace("\(line.folder)/victim/profile.json", with: "{}".utf8)
                try Files.makeDirectories("\(line.folder)/state/images/blobs")
                for name in ["../victim", "images", "", "active-profile", "Lab"] {
                    for words in [["--profile", name], ["--profile=\(name)"]] {
                        let output = try await line.run([verb[0]] + words + verb.dropFirst())
                        #expect(output.status == .exited(14), "\(verb) \(words): \(output.text)\(output.errorText)")
                        #expect(output.errorText.contains("\"\(name)\" cannot name a profile"), "\(output.errorText)")
                    }
                }
                #expect(try Files.text("\(line.folder)/victim/file") == "precious")
                #expect(try Files.list("\(line.folder)/state").map(\.name) == ["images"])
                #expect(try Files.list("\(line.folder)/state/images").map(\.name) == ["blobs"])
                #expect(try Files.list("\(line.folder)/run").isEmpty)
            }
        }

        @Test func namesFromElsewhereAreCheckedToo() async throws {
            try await withCommandLine { line in
                try Files.replace("\(line.folder)/victim/file", with: "precious".utf8)
                for variable in ["CATBIRD_PROFILE", "MINIKUBE_PROFILE"] {
                    let output = try await line.run(["delete"], [variable: "../victim"])
                    #expect(output.status == .exited(14))
                    #expect(output.errorText.contains("the environment's \(variable)"), "\(output.errorText)")
                    #expect(try await line.run(["profile"], [variable: "from-there"]).text == "from-there\n")
                    #expect(try await line.run(["profile"], [variable: ""]).text == "catbird\n")
                }
                try Files.replace("\(line.folder)/state/active-profile", with: "../victim\n".utf8)
                let output = try await line.run(["delete"])
                #expect(output.status == .exited(14))
                #expect(output.errorText.contains("\(line.folder)/state/active-profile"), "\(output.errorText)")
                let set = try await line.run(["profile", "../victim"])
                #expect(set.status == .exited(14))
                for variable in ["CATBIRD_STATE_DIR", "CATBIRD_RUN_DIR"] {
                    for path in ["state", "/"] {
                        let output = try await line.run(["delete", "-p", "lab"], [variable: path])
                        #expect(output.status == .exited(14))
                        #expect(output.errorText.contains(variable), "\(output.errorText)")
                    }
                }
                #expect(try Files.text("\(line.folder)/victim/file") == "precious")
            }
        }
    }
}
