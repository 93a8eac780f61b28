// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LocalCluster

/// Command lines as minikube's users type them.
enum Invocation {
    /// Whether the program was called through a link named `minikube`.
    static var isMinikube: Bool {
        CommandLine.arguments.first?.split(separator: "/").last == "minikube"
    }

    /// Verbs whose words are another program's: only the profile is taken out of them.
    private static let passingThrough: Set<String> = ["kubectl", "calicoctl", "ssh", "addons", "dashboard"]

    /// Flags of ours that minikube also takes with `=true` and `=false`.
    private static let switches: Set<String> = [
        "--all", "--purge", "--url", "--https", "--light", "--short", "--cleanup",
    ]

    /// Moves `-p NAME` and `--profile NAME` behind the command, wherever they stand: `minikube -p lab start` and
    /// `minikube start -p lab` mean the same. Flags without a meaning here are taken out; to `start`, which tells
    /// what is done instead, they are handed on as `--remark`. What follows `--` is left alone.
    static func normalized(_ arguments: [String]) -> [String] {
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        var words = Array(arguments[..<end])[...]
        var command: [String] = []
        var profile: [String] = []
        while let word = words.popFirst() {
            let name = word.hasPrefix("--") ? String(word.prefix { $0 != "=" }) : word
            let given = name.count < word.count ? String(word.dropFirst(name.count + 1)) : nil
            if name == "--profile" || name == "-p", let value = given ?? words.popFirst() {
                profile = ["--profile", value]
            } else if let taken = ignored(name, given, in: command, &words) {
                command += taken
            } else if switches.contains(name), let given {
                if given != "false" { command.append(name) }
            } else {
                command.append(word)
            }
        }
        return command + profile + arguments[end...]
    }

    /// What stands in the command for a flag without a meaning; nil for any other word.
    private static func ignored(
        _ name: String, _ given: String?, in command: [String], _ words: inout ArraySlice<String>
    ) -> [String]? {
        guard name.hasPrefix("-"), command.first.map({ !passingThrough.contains($0) }) ?? true else { return nil }
        if command.first == "start", let (meaning, remark) = IgnoredFlags.ofStart[name] {
            let value = meaning == .flag ? given : given ?? words.popFirst()
            return ["--remark=\(name)\(value.map { "=\($0)" } ?? ""): \(remark)"]
        }
        let takesValue =
            IgnoredFlags.everywhere[name]
            ?? command.prefix(2).lazy.compactMap { IgnoredFlags.ofCommand[$0]?[name] }.first
        guard let takesValue else { return nil }
        if takesValue, given == nil { _ = words.popFirst() }
        return []
    }
}

/// The options that every command on a cluster takes.
struct ProfileOptions: ParsableArguments {
    @Option(
        name: [.customShort("p"), .long], help: "The profile: which cluster is meant.",
        transform: { text throws in try ProfileName(text) })
    var profile: ProfileName?

    /// The profile that was named, here or in the environment, else the active one, else the program's default.
    var name: ProfileName {
        get throws(LocalClusterError) {
            if let profile { return profile }
            for variable in ["CATBIRD_PROFILE", "MINIKUBE_PROFILE"] {
                if let name = HostEnvironment.value(variable) {
                    return try ProfileName(name, from: "the environment's \(variable)")
                }
            }
            return try ProfileStore().activeProfile ?? (Invocation.isMinikube ? .minikube : .catbird)
        }
    }
}
