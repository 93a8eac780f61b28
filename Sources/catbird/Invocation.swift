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

    /// Moves `-p NAME` and `--profile NAME` behind the command, wherever they stand: `minikube -p lab start` and
    /// `minikube start -p lab` mean the same. What follows `--` is left alone.
    static func normalized(_ arguments: [String]) -> [String] {
        var command: [String] = []
        var profile: [String] = []
        var index = arguments.startIndex
        while index < arguments.endIndex, arguments[index] != "--" {
            let argument = arguments[index]
            if (argument == "-p" || argument == "--profile"), index + 1 < arguments.endIndex {
                profile = ["--profile", arguments[index + 1]]
                index += 2
            } else if argument.hasPrefix("--profile=") {
                profile = ["--profile", String(argument.dropFirst("--profile=".count))]
                index += 1
            } else {
                command.append(argument)
                index += 1
            }
        }
        return command + profile + arguments[index...]
    }
}

/// The options that every command on a cluster takes.
struct ProfileOptions: ParsableArguments {
    @Option(name: [.customShort("p"), .long], help: "The profile: which cluster is meant.")
    var profile: String?

    /// The profile that was named, else the active one, else the program's default.
    var name: String {
        profile ?? ProfileStore().activeProfile ?? (Invocation.isMinikube ? "minikube" : "catbird")
    }
}
