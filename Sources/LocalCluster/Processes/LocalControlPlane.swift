// SPDX-License-Identifier: Apache-2.0

import Composition
import Linux
public import Logging
import PKI
import Storage
import Values

/// The control plane of a profile: its keys, its database, its backups, and the watch over its supervisor.
public struct LocalControlPlane: Sendable {
    private let profile: Profile
    private let paths: ProfilePaths
    private let log: Logger

    public init(profile name: ProfileName, log: Logger) throws {
        let store = ProfileStore()
        profile = try store.load(name)
        paths = store.paths(name)
        self.log = log
    }

    /// Serves until cancelled.
    public func run() async throws {
        guard let node = profile.controlPlaneNode else {
            throw LocalClusterError(.guestError, "Profile \"\(profile.name)\" has no node for its control plane.")
        }
        ControlPlane.prepareProcess()
        let pki = try ProfilePKI(paths: paths)
        let storage = try SQLiteBackend(path: paths.database)
        let description = ControlPlane.Description(
            nodeName: node.name, address: node.address, port: Profile.apiPort,
            serving: try pki.apiServer(address: node.address, serviceAddress: IPAddress(10, 96, 0, 1)),
            kubeletClient: try pki.kubeletClient(), authority: pki.authority, tokenSigner: pki.tokenSigner,
            loadBalancerRange: profile.plan.loadBalancerRange, logDirectory: paths.logs)
        let (ready, backup, log, name) = (paths.apiReadyFile, ProfileBackup(paths: paths), log, profile.name)
        var companions: [@Sendable () async throws -> Void] = [{ await Self.backUp(storage, backup, log) }]
        if let network = SupervisedProcess.hostNetwork, let executable = HostEnvironment.executable {
            companions.append {
                do {
                    try await SupervisorGuard.stepIn(profile: name, executable: executable, network: network)
                } catch is CancellationError {
                } catch { log.error("the supervisor cannot be watched", metadata: ["error": "\(error)"]) }
            }
        }
        try await ControlPlane(description, storage: storage, log: log).run(
            // The file tells `catbird start` that the API answers, without its asking again and again.
            ready: { try? Files.replace(ready, with: [], mode: 0o600) }, companions: companions)
    }

    /// A backup is a matter of time: no event asks for one.
    private static func backUp(_ storage: SQLiteBackend, _ backup: ProfileBackup, _ log: Logger) async {
        var pause: Duration = .seconds(600)
        while (try? await Task.sleep(for: pause)) != nil {
            pause = .seconds(3600)
            if backup.summary?.revision == storage.currentRevision { continue }
            do { try await backup.take { try await storage.backup(to: $0) } } catch {
                log.error("no backup was taken", metadata: ["error": "\(error)"])
            }
        }
    }
}
