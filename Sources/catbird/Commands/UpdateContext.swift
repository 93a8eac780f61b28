// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LocalCluster

/// `minikube update-context`: kubectl is led to the cluster again, after its file was lost or edited.
struct UpdateContext: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update-context", abstract: "Writes the cluster into the kubeconfig again, and makes it current.")
    @OptionGroup var common: ProfileOptions

    func run() throws {
        let store = ProfileStore()
        let profile = try store.load(common.name)
        let kubeconfig = Kubeconfig()
        try kubeconfig.add(profile, pki: ProfilePKI(paths: store.paths(profile.name)))
        Terminal.line("🎉", "\"\(profile.name)\" context has been updated in \(kubeconfig.path)")
    }
}
