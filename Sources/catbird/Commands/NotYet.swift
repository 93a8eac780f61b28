// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LocalCluster

/// minikube's command that Catbird does not have: says so, and what shows the same.
struct Dashboard: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "There is none: says what shows the same.", shouldDisplay: false)

    @Argument(parsing: .captureForPassthrough) var arguments: [String] = []

    func run() throws {
        throw LocalClusterError(
            .usage, "Catbird has no dashboard.",
            nextStep: "To see what runs: kubectl get all -A. To see what is wrong: catbird doctor")
    }
}

/// minikube's command that Catbird does not have yet: says so, and how to install by manifest.
struct AddonsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "addons", abstract: "There are none: says what is always there.", shouldDisplay: false)

    @Argument(parsing: .captureForPassthrough) var arguments: [String] = []

    func run() throws {
        throw LocalClusterError(
            .usage, "Catbird has no addons: the network (calico-node) and DNS (coredns) are always there.",
            nextStep: "To install something else: kubectl apply -f MANIFEST")
    }
}
