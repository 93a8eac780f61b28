// SPDX-License-Identifier: Apache-2.0

/// The HTTPS server of the kubelet: for the API server, which shows its certificate.
struct KubeletServer: Sendable {
    private let routes: ServerRoutes

    /// Nil when the configuration has no certificate.
    init?(context: KubeletContext, pods: PodManager) throws {
        guard context.configuration.servingCertificatePEM != nil else { return nil }
        routes = ServerRoutes(context: context, pods: pods)
    }

    func run() async throws {}
}
