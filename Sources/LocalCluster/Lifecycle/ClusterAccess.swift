// SPDX-License-Identifier: Apache-2.0

public import KubeClient
import PKI
import Values

/// A client of a local cluster's API with its administrator's rights.
public struct ClusterAccess: Sendable {
    public let client: KubeClient
    private let transport: HTTPTransport

    public init(profile: Profile, pki: ProfilePKI) throws {
        guard let node = profile.controlPlaneNode else {
            throw LocalClusterError(.guestError, "Profile \"\(profile.name)\" has no nodes.")
        }
        let credentials = try pki.administrator()
        transport = try HTTPTransport(
            ClientConfiguration(
                server: "https://\(node.address):\(Profile.apiPort)",
                caPEM: pki.authority.certificatePEM, certificatePEM: credentials.certificatePEM,
                privateKeyPEM: credentials.privateKeyPEM))
        client = KubeClient(transport, userAgent: "catbird")
    }

    /// Of a running profile.
    ///
    /// - Throws: `LocalClusterError` when it does not exist or does not run.
    public init(running name: ProfileName) throws {
        let store = ProfileStore()
        let profile = try store.load(name)
        guard store.isRunning(name) else {
            throw LocalClusterError(
                .guestNotRunning, "Profile \"\(name)\" is not running.", nextStep: "Start it: catbird start -p \(name)")
        }
        try self.init(profile: profile, pki: ProfilePKI(paths: store.paths(name)))
    }

    public func shutdown() async { try? await transport.shutdown() }
}
