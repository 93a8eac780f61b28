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
        "--all", "--purge", "--url", "--https", "--light", "--short", "--cleanup", "--dry-run", "--download-only",
        "--keep-context", "--follow", "--problems", "--control-plane",
    ]

    /// What a command line comes to.
    struct Normalized {
        var words: [String] = []
        /// What is to be told of flags that were taken out.
        var remarks: [String] = []
    }

    /// Moves `-p NAME` and `--profile NAME` behind the command, wherever they stand: `minikube -p lab start` and
    /// `minikube start -p lab` mean the same. Flags without a meaning here are taken out; to `start`, which tells
    /// what is done instead among its steps, they are handed on as `--remark`. What follows `--` is left alone.
    static func normalized(_ arguments: [String]) -> Normalized {
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        var words = Array(arguments[..<end])[...]
        var result = Normalized()
        var profile: [String] = []
        while let word = words.popFirst() {
            let (name, given) = parts(of: word, in: result.words)
            let passes = result.words.first.map(passingThrough.contains) ?? false
            if name == "--profile" || name == "-p", let value = given ?? words.popFirst() {
                profile = ["--profile", value]
            } else if let entry = ignored(name, in: result.words, passes) {
                let value = given ?? (entry.takesValue ? words.popFirst() : nil)
                guard let remark = entry.remark else { continue }
                let told = "\(name)\(value.map { "=\($0)" } ?? ""): \(remark)"
                if result.words.first == "start" {
                    result.words.append("--remark=\(told)")
                } else {
                    result.remarks.append(told)
                }
            } else if passes {
                result.words.append(word)
            } else if switches.contains(name), let given {
                if !["false", "False", "FALSE", "f", "F", "0"].contains(given) { result.words.append(name) }
            } else if !name.hasPrefix("--"), let given {
                result.words += [name, given]
            } else {
                result.words.append(word)
            }
        }
        result.words += profile + arguments[end...]
        return result
    }

    private static func ignored(_ name: String, in command: [String], _ passes: Bool) -> IgnoredFlags.Entry? {
        guard name.hasPrefix("-") else { return nil }
        if passes, let verb = command.first { return IgnoredFlags.ofCommand[verb]?[name] }
        return IgnoredFlags.entry(name, of: command)
    }

    /// Short options that take a value, which may stand at them: `-n2`, `-v5`.
    private static func takesJoinedValue(_ letter: Character, in command: [String]) -> Bool {
        "pvbon".contains(letter) || (command.first == "start" && "cdgm".contains(letter))
    }

    /// The name of a flag and what is given with it in the same word: `--name=value`, `-n=value`, `-nvalue`.
    private static func parts(of word: String, in command: [String]) -> (name: String, given: String?) {
        guard word.hasPrefix("-"), word.count > 1 else { return (word, nil) }
        if word.hasPrefix("--") || word.dropFirst(2).first == "=" {
            let name = String(word.prefix { $0 != "=" })
            return (name, name.count < word.count ? String(word.dropFirst(name.count + 1)) : nil)
        }
        let passes = command.first.map(passingThrough.contains) ?? false
        let letter = word[word.index(after: word.startIndex)]
        guard word.count > 2, !passes, takesJoinedValue(letter, in: command) else { return (word, nil) }
        return (String(word.prefix(2)), String(word.dropFirst(2)))
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
