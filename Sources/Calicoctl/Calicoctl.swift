// SPDX-License-Identifier: Apache-2.0

public import KubeClient
import Sessions

/// Calico's command line over the Kubernetes datastore. Each run gives the exit code that calicoctl gives.
public enum Calicoctl {
    /// What this client calls itself; `version` compares it with the cluster's.
    public static let version = "v3.34.0"

    /// Runs one command line, without the program's name; prints to the standard streams.
    public static func run(_ words: [String]) async -> Int32 {
        await Session.run(words) { try await $0.run() }
    }

    /// The same with its surroundings given: tests pass their own.
    public static func run(
        _ words: [String], input: @escaping @Sendable () -> [UInt8], client: KubeClient?,
        output: @escaping @Sendable (String) -> Void, errors: @escaping @Sendable (String) -> Void
    ) async -> Int32 {
        await Session.run(words, input: input, client: client, output: output, errors: errors) { try await $0.run() }
    }
}

extension Session {
    func run() async throws -> Int32 {
        let verb = arguments.words.first ?? "help"
        if arguments.flag("help") || verb == "help" {
            output(CommandHelp.find(arguments.words)?.page ?? Usage.text)
            return 0
        }
        if let help = CommandHelp.find(arguments.words), let option = help.stranger(among: arguments.given) {
            throw Failure(
                "Invalid option: '\(option)' is none of '\(help.command)'. Use flag '--help' to read about a specific subcommand."
            )
        }
        switch verb {
        case "version": try await version()
        case "get": try await get()
        case "create", "apply", "replace", "delete", "validate": try await change(verb)
        case "patch": try await patch()
        case "label": try await label()
        case "ipam": try await ipam()
        case "node": try await node()
        case "convert": try convert()
        case "datastore": try await datastore()
        case "cluster":
            guard arguments.words.dropFirst().first == "diags" else {
                throw Failure("Unknown command: 'cluster'. Available: cluster diags")
            }
            try await clusterDiagnostics()
        default:
            throw Failure("Unknown command: '\(verb)'\nUse 'calicoctl --help' to read about a specific subcommand.")
        }
        return 0
    }
}

enum Usage {
    static let text = """
        Usage:
          calicoctl [options] <command> [<args>...]

            create      Create a resource by file or stdin.
            replace     Replace a resource by file or stdin.
            apply       Apply a resource by file or stdin: create it, or replace it where it exists.
            patch       Patch a resource in place.
            delete      Delete a resource by file, stdin, or kind and name.
            get         Show resources by file, stdin, or kind and name.
            label       Add or change labels of a resource.
            validate    Check resources without sending them.
            convert     Show resources of a file as projectcalico.org/v3.
            ipam        IP address management: show, check, release, configure, split.
            node        Calico node: status, diags, checksystem.
            cluster     diags: what the cluster says of itself, in an archive.
            datastore   migrate export, import, lock, unlock.
            version     Show the versions of this client and of the cluster.

        Options:
          -h --help                    Show this screen.
          -l --log-level=<level>       Accepted.
             --context=<context>       The kubeconfig context to use.
             --allow-version-mismatch  Accepted: versions never stand in the way.

        """
}
