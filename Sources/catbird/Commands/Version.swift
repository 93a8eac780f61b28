// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import Manifests
import Values

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints the version.")
    static let number = Addons.version
    static let kubernetes = "v1.36.2"

    @Option(name: [.customShort("o"), .long], help: "json or yaml.") var output: String?
    @Flag(help: "Only the number.") var short = false

    func run() throws {
        switch output {
        case "json":
            print((["catbirdVersion": JSON(Self.number), "kubernetesVersion": JSON(Self.kubernetes)] as JSON).text())
        case "yaml": print("catbirdVersion: \(Self.number)\nkubernetesVersion: \(Self.kubernetes)")
        case nil: print(short ? Self.number : "catbird version: \(Self.number)\nkubernetes version: \(Self.kubernetes)")
        case let other?: throw ValidationError("--output \(other) is not known: json or yaml.")
        }
    }

    /// The distribution's own name for itself.
    static var operatingSystem: String {
        let text = (try? Files.text("/etc/os-release")) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("PRETTY_NAME=") }
        return line.map { $0.dropFirst("PRETTY_NAME=".count).filter { $0 != "\"" } } ?? "Linux"
    }
}

/// `catbird completion bash`, as kubectl and minikube have it.
struct Completion: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints a completion script for bash, zsh or fish.")
    @Argument(help: "bash, zsh or fish.") var shell: String

    func run() throws {
        guard let known = CompletionShell(rawValue: shell) else {
            throw ValidationError("\(shell) is not known: bash, zsh or fish.")
        }
        print(Catbird.completionScript(for: known))
    }
}
