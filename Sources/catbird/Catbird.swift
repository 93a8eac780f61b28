// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import ArgumentParser
import Calicoctl
import Glibc
import LocalCluster

/// The program behind all names: `catbird`, and links named `minikube`, `calicoctl` and `kubectl-calico`.
@main
struct Catbird: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "catbird",
        abstract: "A multi-node, Kubernetes-compatible cluster with Calico-compatible networking on one machine.",
        subcommands: [
            Start.self, Status.self, Stop.self, Delete.self, Node.self, ProfileCommand.self, IP.self, SSH.self,
            Kubectl.self, Image.self, Service.self, Tunnel.self, Logs.self, Doctor.self, Manifests.self,
            CalicoctlCommand.self, ExplainCommand.self,
            IPAMCommand.self, Version.self, UpdateContext.self, Copy.self, Completion.self, Supervise.self,
            ControlPlaneCommand.self, Agent.self, DNS.self, PluginCommand.self,
        ])

    static func main() async {
        signal(SIGPIPE, SIG_IGN)
        let arguments = CommandLine.arguments
        let name = arguments.first?.split(separator: "/").last.map(String.init) ?? "catbird"
        // kubectl runs what is called `kubectl-calico` for `kubectl calico …`, as Calico's documentation installs it.
        let isCalicoctlByName = ["calicoctl", "kubectl-calico"].contains(name)
        if isCalicoctlByName || arguments.dropFirst().first == "calicoctl" { endBySignals() }
        if isCalicoctlByName { Glibc.exit(await Calicoctl.run(Array(arguments.dropFirst()))) }
        // calicoctl's -p is a patch, not a profile.
        let isCalicoctl = arguments.dropFirst().first == "calicoctl"
        let words = Array(arguments.dropFirst())
        if isCalicoctl { return await run(words) }
        let invocation = Invocation.normalized(words)
        for remark in invocation.remarks { Terminal.note("❗", remark) }
        await run(invocation.words)
    }

    private static func run(_ arguments: [String]) async {
        // calicoctl reads its own command line, which takes flags where ArgumentParser would not.
        if arguments.first == "calicoctl" { Glibc.exit(await Calicoctl.run(Array(arguments.dropFirst()))) }
        if arguments.first == "plugin" { await PluginCommand.call(Array(arguments.dropFirst())) }
        if let first = arguments.first, ["explain", "ipam"].contains(first) {
            Glibc.exit(await AddressTool.run(arguments))
        }
        do {
            try MachinePaths.checkEnvironment()
            try NotYet.check(
                arguments,
                among: configuration.subcommands.flatMap {
                    [$0.configuration.commandName ?? "\($0)".lowercased()] + $0.configuration.aliases
                })
            var command = try parseAsRoot(arguments)
            // What these write belongs to the cluster; what kubectl, ssh and cp write belongs to who calls them.
            if !(command is Kubectl || command is SSH || command is Copy) { Surroundings.useUsualFileMask() }
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as LocalClusterError {
            Terminal.fail(error.message, next: error.nextStep)
            Glibc.exit(error.code.rawValue)
        } catch let error as ExitCode {
            Glibc.exit(error.rawValue)
        } catch {
            if Self.exitCode(for: error) == .validationFailure || error is CleanExit
                || "\(type(of: error))" == "CommandError"
            {
                let code = Self.exitCode(for: error)
                let text = Self.fullMessage(for: error)
                if code == .success { print(text) } else { Terminal.error(text) }
                Glibc.exit(code == .success ? 0 : LocalClusterError.Code.usage.rawValue)
            }
            Terminal.fail("\(error)", next: nil)
            Glibc.exit(LocalClusterError.Code.guestError.rawValue)
        }
    }
    /// The first process of a container has no default action for signals: `kubectl delete pod` of one that runs
    /// `calicoctl version --poll` would have to wait for the whole grace period.
    private static func endBySignals() {
        guard getpid() == 1 else { return }
        for number in [SIGTERM, SIGINT] { signal(number) { _exit(128 + $0) } }
    }
}
