// SPDX-License-Identifier: Apache-2.0

import KubeClient
import Linux
import Logging
import NetworkModel
import Values

/// Brings changes of Services and their endpoints to the kernel, each by itself: routes, pools and other nodes have no part
/// in it.
struct ServiceManager: Sendable {
    let view: ClusterView
    let dataplane: Dataplane
    let checks: HealthCheckServers
    let logger: Logger
    private let signal = Signal()
    /// Called when tables have to be there that were not.
    private let onTables: @Sendable () -> Void

    init(
        view: ClusterView, dataplane: Dataplane, checks: HealthCheckServers, logger: Logger,
        onTables: @escaping @Sendable () -> Void
    ) {
        self.view = view
        self.dataplane = dataplane
        self.checks = checks
        self.logger = logger
        self.onTables = onTables
    }

    private var plane: ServicePlane { dataplane.services }

    /// Follows the objects until cancelled.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await events in view.services.events() where plane.takeServices(events) { signal.raise() }
            }
            group.addTask {
                for await events in view.endpointSlices.events() where plane.takeSlices(events) { signal.raise() }
            }
            group.addTask {
                await view.waitForServices()
                // Of what has been listed some may be on its way here still.
                plane.take(view.services.snapshot().map { .service($0.key, $0.value) })
                plane.take(view.endpointSlices.snapshot().map { .slice($0.key, $0.value) })
                plane.complete()
                onTables()
                signal.raise()
            }
            group.addTask { await write() }
            group.addTask { await checks.run() }
        }
    }

    private func write() async {
        var hadTables = false
        var told: Set<String> = []
        await signal.forEach(onFailure: { logger.error("the tables of Services will be tried again: \($0)") }) {
            guard plane.isComplete else { return }
            // The table of IPv6 is there for as long as somebody needs it.
            let hasTables = plane.isUsed(.v6)
            if hasTables != hadTables { onTables() }
            hadTables = hasTables
            try await OwnThread.run(awaiting: { [dataplane] in try dataplane.applyServices() })
            if let wanted = plane.takeHealthChecks() { checks.set(wanted) }
            let problems = plane.problems
            for problem in problems where !told.contains(problem) { logger.warning("\(problem)") }
            told = Set(problems)
        }
    }
}
