// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LocalCluster
import Values

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists what is wrong in the cluster: each with its cause and the next command.")
    @OptionGroup var common: ProfileOptions
    @Option(name: [.customShort("o"), .long], help: "text or json.") var output: String = "text"

    func run() async throws {
        let name = try common.name
        let findings = try await LocalExamination(running: name).findings()
        switch output {
        case "json": print(JSON.array(findings.map(\.json)).text(indent: 2))
        case "text":
            if findings.isEmpty { Terminal.line("✅", "Nothing is wrong with \"\(name)\".") }
            for finding in findings {
                print("\(finding.object): \(finding.problem)")
                print("  why:  \(finding.cause)")
                print("  next: \(finding.nextStep)")
            }
        default: throw ValidationError("--output \(output) is not known: text or json.")
        }
        if !findings.isEmpty { throw ExitCode(1) }
    }
}
