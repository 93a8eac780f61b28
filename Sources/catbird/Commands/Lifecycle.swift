// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LocalCluster
import Linux

struct Stop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stops a cluster; its objects and disks stay.")
    @OptionGroup var common: ProfileOptions
    @Flag(help: "Stop every cluster.") var all = false
    @Option(help: .hidden) var schedule: String?

    func run() async throws {
        // Stopping at once is not what was asked for.
        guard schedule == nil else {
            throw LocalClusterError(
                .usage, "--schedule \(schedule ?? ""): a stop is not scheduled, and nothing was stopped.",
                nextStep: "Let the shell wait: (sleep 600; catbird stop) &")
        }
        let store = ProfileStore()
        for name in all ? store.names() : [try common.name] {
            _ = try store.load(name)
            let removal = ClusterRemoval(profile: name) { Terminal.line("❗", $0) }
            let lock = try await removal.lock()
            defer { lock.release() }
            let profile = try store.load(name)
            for node in profile.nodes { Terminal.line("✋", "Stopping node \"\(node.name)\"  ...") }
            try await removal.stop()
            await removal.settle()
            Terminal.line("🛑", "\(profile.nodes.count) node\(profile.nodes.count == 1 ? "" : "s") stopped.")
        }
    }
}

struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes a cluster and every trace of it.")
    @OptionGroup var common: ProfileOptions
    @Flag(help: "Every cluster.") var all = false
    @Flag(help: "With --all: the image store too.") var purge = false

    func run() async throws {
        let store = ProfileStore()
        let names = all ? store.names() : [try common.name]
        for name in names {
            guard store.exists(name) || ClusterRemoval.hasLeftovers(name) else {
                Terminal.line("🙄", "\"\(name)\" profile does not exist, trying anyway.")
                try await ClusterRemoval(profile: name).run()
                continue
            }
            let removal = ClusterRemoval(profile: name) { Terminal.line("❗", $0) }
            let lock = try await removal.lock()
            defer { lock.release() }
            Terminal.line("🔥", "Deleting \"\(name)\" ...")
            try await removal.run()
            Terminal.line("💀", "Removed all traces of the \"\(name)\" cluster.")
        }
        if all {
            Terminal.line("🔥", "Successfully deleted all profiles")
            if purge { try Files.removeTree(store.machine.images) }
        }
    }
}
