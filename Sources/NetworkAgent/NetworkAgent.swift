// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import IPAM
public import KubeClient
import KubeObjects
import Linux
public import Logging
import NetworkModel
import Values

/// The agent of one node: gives pods their addresses and links, and keeps routes, tunnel, NAT and Services in the
/// kernel as the API's objects say.
///
/// Killed at any line it leaves a kernel that goes on working, and objects that the next run picks up.
public struct NetworkAgent: Sendable {
    private let client: KubeClient
    private let nodeName: String
    private let configuration: NetworkAgentConfiguration
    private let logger: Logger

    public init(
        client: KubeClient, nodeName: String, configuration: NetworkAgentConfiguration = NetworkAgentConfiguration(),
        logger: Logger = Logger(label: "agent")
    ) {
        self.client = client
        self.nodeName = nodeName
        self.configuration = configuration
        self.logger = logger
    }

    /// Runs until cancelled. Throws what keeps the agent from working at all: no right to change the network, no way
    /// to listen or to install the plugin.
    public func run() async throws {
        let dataplane = try Dataplane(in: configuration.namespace, node: nodeName, logger: logger)
        let view = ClusterView(client, node: nodeName, logger: logger)
        let recorder = EventRecorder(client, component: "catbird-agent", host: nodeName, logger: logger)
        let presenceSignal = Signal()
        let speakerSignal = Signal()
        let sandboxSignal = Signal()
        let book = AddressBook(
            store: WatchedStore(client: client, feed: { InformerFeed(view.forAddresses) }),
            node: nodeName, journal: try configuration.statePath.map { try ReleaseJournal("\($0)/releases.json") },
            deadline: AddressBook.usualDeadline, logger: logger, onChange: { speakerSignal.raise() })
        let presence = NodePresence(
            client: client, node: nodeName, view: view, book: book, dataplane: dataplane, recorder: recorder,
            configuration: configuration, logger: logger)
        let metrics = FelixMetrics(node: nodeName)
        let links = try dataplane.sandboxLinks().map { "\($0.hostInterface) \($0.handleID)" }
        let portSignal = Signal()
        let hostPorts = HostPortBook(
            path: configuration.statePath.map { "\($0)/host-ports.json" }, logger: logger,
            isWired: { links.contains("\($0) \($1)") }, onChange: { portSignal.raise() })
        let tables = TableManager(
            view: view, dataplane: dataplane, hostPorts: hostPorts, metrics: metrics, logger: logger)
        let name = nodeName
        let routes = RouteManager(
            node: nodeName, view: view, dataplane: dataplane, metrics: metrics, logger: logger,
            listeners: .init(
                nodes: { events in
                    // Which node tells of a pool's encapsulation changes with the nodes there are.
                    if events.contains(where: { $0.object.name == name || $0.isDeletion }) { presenceSignal.raise() }
                    speakerSignal.raise()
                },
                pools: {
                    presenceSignal.raise()
                    speakerSignal.raise()
                },
                blocks: { speakerSignal.raise() }, tables: { tables.take($0) }))
        var handler = RequestHandler(
            node: nodeName, pods: WatchedPods(client: client, view: view, recorder: recorder), book: book,
            dataplane: dataplane, logger: logger, mtu: { await presence.podMTU })
        handler.hostPorts = hostPorts
        let requests = handler
        let server = PluginServer(path: configuration.socketPath, logger: logger) { parameters, network, netns in
            let isDeletion = parameters.command == .delete
            defer { if isDeletion { presenceSignal.raise() } }
            return try await requests.answer(parameters, network, netns)
        }
        let services = ServiceManager(
            view: view, dataplane: dataplane, checks: HealthCheckServers(namespace: configuration.namespace, logger),
            logger: logger, onTables: { tables.raise() })
        let figures = MetricsServer(
            node: nodeName, view: view, metrics: metrics, configuration: configuration, logger: logger)
        let repairs = RepairTeller(
            node: nodeName, view: view, dataplane: dataplane, recorder: recorder, metrics: metrics, logger: logger)
        let speaker = BGPSpeaker(
            node: nodeName, client: client, view: view, book: book, recorder: recorder, configuration: configuration,
            logger: logger, signal: speakerSignal)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for informer in view.all { group.addTask { await informer.run() } }
            group.addTask {
                try await server.run {
                    let installer = PluginInstaller(configuration: configuration, node: nodeName)
                    try await OwnThread.run(awaiting: { try installer.install() })
                    logger.info("pods can start: listening at \(configuration.socketPath)")
                }
            }
            for informer in view.forBGP {
                group.addTask { for await _ in informer.events() { speakerSignal.raise() } }
            }
            group.addTask { await speaker.run() }
            group.addTask { await figures.run() }
            group.addTask {
                try await dataplane.watch(
                    onSandbox: { sandboxSignal.raise() }, onTable: { tables.raise() }, onChange: { routes.raise() })
            }
            group.addTask { await portSignal.forEach(onFailure: { _ in }) { tables.raise() } }
            group.addTask {
                await sandboxSignal.forEach(onFailure: { logger.error("a pod's link will be tried again: \($0)") }) {
                    try await requests.repairSandboxes()
                    repairs.tell()
                    // A pod that takes its own address away again and again keeps nobody busy.
                    try await Task.sleep(for: .milliseconds(200))
                }
            }
            group.addTask { await services.run() }
            group.addTask {
                await presenceSignal.forEach(
                    onFailure: { logger.warning("the node's network annotations will be tried again: \($0)") }
                ) {
                    try await presence.reconcile()
                    routes.take([.uplink(mtu: await presence.uplinkMTU)])
                }
            }
            group.addTask {
                try await routes.run(
                    kernelHasIPIP: { try await presence.hasIPIP() },
                    workloads: { await view.workloads(of: name, book) }, uplinkMTU: { await presence.uplinkMTU },
                    onRepair: { repairs.tell() })
            }
            group.addTask { await tables.run(onRepair: { repairs.tell() }) }
            // Whatever throws first ends all of it; the informers never return by themselves.
            for try await _ in group {}
        }
    }
}
