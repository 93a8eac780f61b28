// SPDX-License-Identifier: Apache-2.0

import Composition
public import Logging

/// The process of a node of a local cluster, whose images are fetched over the machine's own network.
public struct LocalNode: Sendable {
    private let name: String
    private let log: Logger

    public init(name: String, log: Logger) {
        self.name = name
        self.log = log
    }

    /// Runs until cancelled.
    public func run() async throws {
        do {
            let network = SupervisedProcess.hostNetwork
            try await NodeProcess(name: name, log: log).run { PullSettings.registries($0, network: network) }
        } catch let problem as NodeProcess.Problem {
            throw LocalClusterError(
                .guestError, problem.description,
                nextStep: "This command is started by catbird inside a node. To start a cluster: catbird start")
        }
    }
}
