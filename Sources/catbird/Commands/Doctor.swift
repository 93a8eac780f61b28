// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Diagnosis
import KubeClient
import KubeObjects
import LocalCluster
import Values

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists what is wrong in the cluster: each with its cause and the next command.")
    @OptionGroup var common: ProfileOptions
    @Option(name: [.customShort("o"), .long], help: "text or json.") var output: String = "text"
    @Option(help: "A kubeconfig of another cluster, which is asked through its API alone.") var kubeconfig: String?
    @Option(help: "A context of the kubeconfig: the cluster that it names is asked through its API alone.")
    var context: String?

    func run() async throws {
        if kubeconfig != nil || context != nil { return try await examineElsewhere() }
        let name = try common.name
        let findings = try await LocalExamination(running: name).findings()
        try tell(findings, "\"\(name)\"")
    }

    /// Another cluster, of which nothing is known but what its API says.
    private func examineElsewhere() async throws {
        let configuration = try ClientConfiguration.discover(kubeconfig: kubeconfig, context: context)
        let transport = try HTTPTransport(configuration)
        let cluster: ClusterSnapshot
        do {
            cluster = try await Deadline.run(.seconds(60)) {
                try await Examination(client: KubeClient(transport, userAgent: "catbird-doctor"))
                    .snapshot(countingWrites: true)
            }
        } catch {
            try? await transport.shutdown()
            throw error
        }
        try await transport.shutdown()
        let unseen = cluster.unseen.sorted { $0.key.groupResource < $1.key.groupResource }
        for (kind, reason) in unseen { Terminal.error("\(kind.groupResource) cannot be listed: \(reason)") }
        Terminal.error("Left out: \(Examination.leftOutElsewhere).")
        try tell(Examination.findings(cluster), configuration.server)
    }

    private func tell(_ findings: [Finding], _ place: String) throws {
        switch output {
        case "json": print(JSON.array(findings.map(\.json)).text(indent: 2))
        case "text":
            if findings.isEmpty { Terminal.line("✅", "Nothing is wrong with \(place).") }
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
