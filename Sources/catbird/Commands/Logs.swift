// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import LocalCluster

struct Logs: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The last lines of the logs of the cluster's processes.")
    @OptionGroup var common: ProfileOptions
    @Option(name: [.customShort("n"), .long], help: "How many lines of each.") var length: Int = 60
    @Option(help: "Write to this file instead.") var file: String?

    func run() throws {
        let store = ProfileStore()
        let name = try common.name
        _ = try store.load(name)
        let folder = store.paths(name).logs
        var text = ""
        for entry in try Files.list(folder) where entry.name.hasSuffix(".log") {
            let lines = ((try? Files.text("\(folder)/\(entry.name)")) ?? "").split(
                separator: "\n", omittingEmptySubsequences: false)
            text += "\n==> \(entry.name.dropLast(4)) <==\n" + lines.suffix(max(0, length) + 1).joined(separator: "\n")
        }
        if let file {
            try Files.replace(file, with: Array(text.utf8), mode: 0o600)
        } else {
            Terminal.write(1, text + "\n")
        }
    }
}
