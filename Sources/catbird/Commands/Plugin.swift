// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Linux
import NetworkAgent

/// What `catbird-cni` becomes where there is no agent. It is taken before this parser sees it, since runtimes wait for it;
/// the command stands here for the list of commands.
struct PluginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugin", abstract: "One call of the CNI plugin without an agent; catbird-cni starts it.")
    @Argument(help: "`ipam`: give addresses only.") var role: String?

    func run() async throws { await Self.call(role.map { [$0] } ?? []) }

    static func call(_ words: [String]) async -> Never {
        let environment = ProcessSpawner.ownEnvironment
        var input: [UInt8] = []
        // catbird-cni has read it already, and taken no more than a mebibyte.
        while let chunk = try? FileDescriptor.read(0, upTo: 65536), !chunk.isEmpty, input.count <= 1 << 20 {
            input += chunk
        }
        let outcome = await PluginRun(environment: environment).answer(input, isIPAM: words.first == "ipam")
        try? FileDescriptor.write(1, outcome.output)
        Glibc.exit(outcome.isSuccess ? 0 : 1)
    }
}
