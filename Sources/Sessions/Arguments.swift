// SPDX-License-Identifier: Apache-2.0

/// A command line: options may stand anywhere among the words, as calicoctl's do.
package struct Arguments: Sendable {
    package private(set) var words: [String] = []
    private var values: [String: [String]] = [:]
    private var flags: Set<String> = []
    /// The options that were given: what each means, and how it was written.
    package private(set) var given: [(key: String, word: String)] = []

    private static let withValue: [String: String] = [
        "-f": "filename", "--filename": "filename", "-o": "output", "--output": "output", "-n": "namespace",
        "--namespace": "namespace", "-c": "config", "--config": "config", "-l": "log-level", "--log-level": "log-level",
        "-p": "patch", "--patch": "patch", "-t": "type", "--type": "type", "--context": "context", "--ip": "ip",
        "--poll": "poll", "--kubeconfig": "kubeconfig", "--profile": "profile", "--nodes": "nodes", "--pods": "pods",
        "--delete": "delete", "--to": "to", "--block-size": "block-size", "--name": "name", "--wave": "wave",
        "--timeout": "timeout", "--cidr": "cidr", "--from-report": "from-report", "--strictaffinity": "strictaffinity",
        "--max-blocks-per-host": "max-blocks-per-host", "--kubevirt-ip-persistence": "kubevirt-ip-persistence",
        "--ip-cooldown-seconds": "ip-cooldown-seconds", "--log-dir": "log-dir", "--since": "since",
        "--bird-socket": "bird-socket", "--max-logs": "max-logs", "--max-parallelism": "max-parallelism",
        "--focus-nodes": "focus-nodes",
    ]
    private static let withoutValue: [String: String] = [
        "-h": "help", "--help": "help", "-A": "all-namespaces", "-a": "all-namespaces",
        "--all-namespaces": "all-namespaces", "--allow-version-mismatch": "allow-version-mismatch",
        "--export": "export", "--skip-exists": "skip-exists", "-s": "skip-not-exists",
        "--skip-not-exists": "skip-not-exists", "--skip-empty": "skip-empty", "-R": "recursive",
        "--recursive": "recursive", "--overwrite": "overwrite", "--remove": "remove", "--show-blocks": "show-blocks",
        "--show-borrowed": "show-borrowed", "--show-configuration": "show-configuration", "--client": "client",
        "--fix": "fix", "--recreate": "recreate", "--unmanaged": "unmanaged", "--dry-run": "dry-run",
        "--force": "force", "--show-all-ips": "show-all-ips", "--show-problem-ips": "show-problem-ips",
        "--ignore-validation": "ignore-validation", "--skip-temp-dir-cleanup": "skip-temp-dir-cleanup",
    ]

    /// - Throws: `Failure` for an option that is not known or lacks its value.
    package init(_ line: [String]) throws {
        var index = line.startIndex
        while index < line.endIndex {
            let word = line[index]
            index += 1
            guard word.hasPrefix("-"), word != "-" else {
                words.append(word)
                continue
            }
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let isShort = !word.hasPrefix("--") && word.utf8.count > 2
            let name = isShort ? String(word.prefix(2)) : parts[0]
            if let key = Self.withValue[name] ?? Self.withoutValue[parts[0]] { given.append((key, name)) }
            if let key = Self.withValue[name] {
                if isShort {
                    let rest = word.dropFirst(2)
                    values[key, default: []].append(String(rest.first == "=" ? rest.dropFirst() : rest))
                } else if parts.count == 2 {
                    values[key, default: []].append(parts[1])
                } else if index < line.endIndex {
                    values[key, default: []].append(line[index])
                    index += 1
                } else {
                    throw Failure("\(name) requires argument")
                }
            } else if let key = Self.withoutValue[parts[0]] {
                if parts.count == 1 || parts[1] == "true" { flags.insert(key) }
            } else {
                throw Failure("Invalid option: '\(word)'. Use flag '--help' to read about a specific subcommand.")
            }
        }
    }

    package func flag(_ name: String) -> Bool { flags.contains(name) }
    package func value(_ name: String) -> String? { values[name]?.last }
    package func all(_ name: String) -> [String] { values[name] ?? [] }
}
