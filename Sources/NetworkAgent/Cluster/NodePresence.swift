// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import Linux
import Logging
import NetworkModel
import Values

/// What the node tells the others: its addresses with their subnets, and its ends of the tunnels.
actor NodePresence {
    private let client: KubeClient
    private let node: String
    private let view: ClusterView
    private let book: AddressBook
    private let dataplane: Dataplane
    private let recorder: EventRecorder
    private let logger: Logger
    private let configuration: NetworkAgentConfiguration
    private var underlays: [IPFamily: CIDR] = [:]
    private var uplink: Int?
    private var kernelHasIPIP: Bool?
    private var writtenMTU: Int?

    init(
        client: KubeClient, node: String, view: ClusterView, book: AddressBook, dataplane: Dataplane,
        recorder: EventRecorder, configuration: NetworkAgentConfiguration, logger: Logger
    ) {
        self.client = client
        self.node = node
        self.view = view
        self.book = book
        self.dataplane = dataplane
        self.recorder = recorder
        self.configuration = configuration
        self.logger = logger
        kernelHasIPIP = configuration.kernelHasIPIP
    }

    /// What pods get: the uplink's MTU, less the headers of what their pools are carried in.
    var podMTU: Int {
        if let mtu = configuration.mtu { return mtu }
        return MTUPlan.pods(
            uplink: uplinkMTU, pools: IPPool.read(view.pools.all()).pools, kernelHasIPIP: kernelHasIPIP ?? false)
    }

    /// The smallest MTU of the node's uplinks.
    var uplinkMTU: Int {
        if uplink == nil { findUnderlays() }
        return uplink ?? 1500
    }

    /// Looks which addresses the node has now, and what its uplinks carry.
    private func findUnderlays() {
        guard let object = view.nodes[nil, node] else { return }
        do {
            let interfaces = try dataplane.interfaces()
            var carriers: [NodeInterface] = []
            for family in IPFamily.allCases {
                let reported = NodeNetwork.reportedAddress(object, family)
                let method = configuration.detection[family] ?? .kubernetesInternalIP
                let found = method.find(family, in: interfaces, reported: reported) { target in
                    IPAddress(target).flatMap { try? dataplane.source(towards: $0) }
                }
                underlays[family] = found?.address
                if let found { carriers.append(found.interface) }
            }
            uplink =
                MTUPlan.uplink(of: interfaces.map { ($0.name, $0.mtu, $0.isUp) }) ?? carriers.map(\.mtu).min()
        } catch {
            logger.warning("the node's addresses cannot be listed: \(error)")
        }
    }

    /// Brings the node's annotations, the tunnels' addresses, the MTU file and the pools' notes up to date.
    func reconcile() async throws {
        await view.waitForAddresses()
        guard let object = view.nodes[nil, node] else { return }
        findUnderlays()
        var wanted: [String: String?] = [:]
        for family in IPFamily.allCases {
            let keys = NodeAnnotations(family)
            if let underlay = underlays[family] { wanted[keys.address] = "\(underlay)" }
        }
        let hasIPIP = try await hasIPIP()
        for tunnel in TunnelKind.ofAgents {
            let address = try await address(of: tunnel, hasIPIP)
            wanted[tunnel.annotation] = .some(address.map { "\($0)" })
            if address != nil, let key = tunnel.macAnnotation, let mac = IPAMNames.vxlanMAC(node: node) {
                wanted[key] = "\(mac)"
            }
        }
        var changes = JSONObject()
        for (key, value) in wanted.sorted(by: { $0.key < $1.key }) where object.annotations[key] != value {
            if let value { changes[key] = JSON(value) } else { changes[key] = .null }
        }
        if !changes.isEmpty {
            try await client.patch(.nodes, node, type: .merge, ["metadata": ["annotations": .object(changes)]])
        }
        try await book.tidy()
        try await notePools()
        writeMTU()
    }

    private func writeMTU() {
        guard let path = configuration.mtuFile, writtenMTU != podMTU else { return }
        do {
            try Files.makeDirectories(Files.directory(of: path))
            try Files.replace(path, with: "\(podMTU)".utf8, mode: 0o644, durable: false)
            writtenMTU = podMTU
        } catch {
            logger.warning("\(path) is not written, plugins other than Catbird's will not know the MTU: \(error)")
        }
    }

    /// A tunnel's address, as the model decides it: kept, taken anew or given back.
    private func address(of tunnel: TunnelKind, _ hasIPIP: Bool) async throws -> IPAddress? {
        let handleID = tunnel.handleID(node: node)
        let held = await book.held(handleID).map(\.address)
        let snapshot = await book.snapshot()
        let pools: [String]
        switch tunnel.action(node: node, held: held, snapshot, kernelHasIPIP: hasIPIP) {
        case .keep(let address): return address
        case .nothing: return nil
        case .release: pools = []
        case .assign(let names, _): pools = names
        }
        if !held.isEmpty {
            try await book.release(handleIDs: [handleID])
            let list = held.map { "\($0)" }.joined(separator: ", ")
            logger.notice("\(tunnel.subject) leaves \(list): no pool that it carries has the address any more")
        }
        guard !pools.isEmpty else { return nil }
        do {
            let assigned = try await book.assign(tunnel.request(node: node, pools: pools))
            logger.info("\(tunnel.subject) has \(assigned.explanation)")
            return assigned.address
        } catch let refusal as AddressRefusal {
            logger.error("\(refusal)")
            return nil
        }
    }

    /// Says on each pool that asks for IP in IP how it is carried instead. Of the nodes that a pool selects, the first
    /// one does.
    private func notePools() async throws {
        for object in view.pools.all() {
            guard let pool = try? IPPool(object) else { continue }
            let note = pool.encapsulationNote(kernelHasIPIP: try await hasIPIP())
            guard object.annotations[CalicoKeys.encapsulationNote] != note else { continue }
            let nodes = view.nodes.all()
            let speaker = nodes.filter { pool.selects($0.labels) }.map(\.name).min()
            guard speaker == node || (speaker == nil && nodes.map(\.name).min() == node) else { continue }
            do {
                try await client.patch(
                    .ipPools, object.name, type: .merge,
                    [
                        "metadata": [
                            "annotations": .object([CalicoKeys.encapsulationNote: note.map { JSON($0) } ?? .null])
                        ]
                    ])
            } catch let error as APIError where error.isNotFound {
                continue
            }
            guard let note else { continue }
            logger.notice("pool \(pool.label): \(note)")
            recorder.record(object, type: .warning, reason: "EncapsulationChanged", message: note)
        }
    }

    /// Whether the kernel has IP in IP; asked once.
    func hasIPIP() async throws -> Bool {
        if let kernelHasIPIP { return kernelHasIPIP }
        let found = try await OwnThread.run(awaiting: { try KernelFeatures.probe([.ipip]).has(.ipip) })
        kernelHasIPIP = found
        return found
    }
}
