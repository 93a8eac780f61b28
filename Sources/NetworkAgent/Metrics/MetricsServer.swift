// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeClient
import KubeObjects
import Logging
import NetworkModel

/// Serves the agent's figures where FelixConfiguration, or the environment, says so, and as long as it does.
struct MetricsServer: Sendable {
    let node: String
    let view: ClusterView
    let metrics: FelixMetrics
    let configuration: NetworkAgentConfiguration
    let logger: Logger

    /// Follows the settings until cancelled.
    func run() async {
        let events = view.felix.events()
        await view.felix.waitUntilSynced()
        var current = FelixMetricsSettings(nil)
        var serving: Task<Void, Never>?
        func follow() async {
            let wanted = FelixMetricsSettings(
                view.felix[nil, "default"], ofNode: view.felix[nil, "node.\(node)"],
                environment: configuration.felixEnvironment)
            for problem in wanted.problems where !current.problems.contains(problem) { logger.warning("\(problem)") }
            guard wanted != current else { return }
            current = wanted
            if let before = serving {
                before.cancel()
                await before.value
                logger.info("figures are not served any more as before")
            }
            serving = wanted.isEnabled ? Task { await serve(wanted) } : nil
        }
        // There may be no FelixConfiguration, and the environment say it all.
        await follow()
        for await _ in events { await follow() }
        serving?.cancel()
    }

    private func serve(_ settings: FelixMetricsSettings) async {
        let host = settings.host.isEmpty ? "0.0.0.0" : settings.host
        let server = HTTPServer(
            HTTPServerConfiguration(.address(host: host, port: settings.port)), logger: logger,
            handler: { [metrics] request in
                guard request.path == "/metrics" else { return HTTPResponse(status: 404, text: "404 page not found") }
                let text = metrics.exposition(withProcess: settings.hasProcessMetrics)
                return HTTPResponse(contentType: "text/plain; version=0.0.4", bytes: Array(text.utf8))
            })
        do { try await server.run(onBound: { logger.info("figures are served at \($0)") }) } catch {
            guard !Task.isCancelled else { return }
            logger.error(
                "figures are not served: port \(settings.port) (FelixConfiguration prometheusMetricsPort): \(error)")
        }
    }
}
