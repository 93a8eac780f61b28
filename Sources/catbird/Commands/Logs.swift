// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Linux
import LocalCluster

struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The last lines of the logs of the cluster's processes.")
    @OptionGroup var common: ProfileOptions
    @Option(name: [.customShort("n"), .long], help: "How many lines of each.") var length: Int = 60
    @Option(help: "Write to this file instead.") var file: String?
    @Option(help: "Only the log of this node's kubelet.") var node: String?
    @Flag(help: "Only lines that tell of errors and warnings.") var problems = false
    @Flag(name: [.customShort("f"), .long], help: "Go on with what is written from now on.") var follow = false

    func run() async throws {
        let store = ProfileStore()
        let profile = try store.load(common.name)
        let folder = store.paths(profile.name).logs
        let only = try node.map { "node-\(try NodeCommand.node($0, in: profile).name).log" }
        let names = try Files.list(folder).map(\.name).filter { $0.hasSuffix(".log") && (only ?? $0) == $0 }
        if follow { return try await tail(names.map { "\(folder)/\($0)" }) }
        var text = ""
        for name in names {
            let lines = ((try? Files.text("\(folder)/\(name)")) ?? "").split(
                separator: "\n", omittingEmptySubsequences: false
            ).filter { !problems || Self.tellsOfProblem($0) }
            text += "\n==> \(name.dropLast(4)) <==\n" + lines.suffix(max(0, length) + 1).joined(separator: "\n")
        }
        if let file {
            try Files.replace(file, with: Array(text.utf8), mode: 0o600)
        } else {
            Terminal.write(1, text + "\n")
        }
    }

    private static func tellsOfProblem(_ line: Substring) -> Bool {
        [" error ", " critical ", " warning ", "Exiting: "].contains { line.contains($0) }
    }

    /// tail knows how to follow files; it ends with its reader or by a key.
    private func tail(_ paths: [String]) async throws {
        var spawner = ProcessSpawner("tail", ["-n", "\(max(0, length))", "-F"] + paths)
        spawner.descriptors = [0: 0, 1: 1, 2: 2]
        signal(SIGINT, SIG_IGN)
        let status = try await spawner.spawn().wait()
        if !status.isSuccess { throw ExitCode(status.code) }
    }
}
