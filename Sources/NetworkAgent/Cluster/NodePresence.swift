// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import Linux
import Logging
import NetworkModel
import Values

/// What the node tells the others: its address with its subnet, and its end of the tunnel.
actor NodePresence {
    private let client: KubeClient
    private let node: String
    private let view: ClusterView
    private let book: AddressBook
    private let dataplane: Dataplane
    private let recorder: EventRecorder
    private let logger: Logger
    private let configuration: NetworkAgentConfiguration
    private var underlay: (address: CIDR, mtu: Int)?
    private var kernelHasIPIP: Bool?

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

    /// What pods get: the node's MTU, less the tunnel's headers where a pool is carried in it.
    var podMTU: Int {
        if let mtu = configuration.mtu { return mtu }
        findUnderlay()
        let encapsulates = IPPool.read(view.pools.all()).pools.contains { $0.carriage != .never }
        return max(576, (underlay?.mtu ?? 1500) - (encapsulates ? NetworkPlan.Tunnel.overhead : 0))
    }

    var tunnelMTU: Int {
        findUnderlay()
        return max(576, (underlay?.mtu ?? 1500) - NetworkPlan.Tunnel.overhead)
    }

    private func findUnderlay() {
        guard let object = view.nodes[nil, node],
            let address = NodeNetwork.reportedAddress(object) ?? NodeNetwork(object)?.address.address,
            underlay?.address.address != address
        else { return }
        do {
            underlay = try dataplane.underlay(address).map { ($0.address, $0.mtu) }
        } catch {
            logger.warning("the node's addresses cannot be listed: \(error)")
        }
    }

    /// Brings the node's annotations, the tunnel's address and the pools' notes up to date.
    func reconcile() async throws {
        await view.waitForAddresses()
        guard let object = view.nodes[nil, node] else { return }
        let tunnel = try await tunnelAddress()
        findUnderlay()
        var wanted: [String: String] = [:]
        if let underlay { wanted[CalicoKeys.ipv4Address] = "\(underlay.address)" }
        if let tunnel {
            wanted[CalicoKeys.vxlanTunnelAddress] = "\(tunnel)"
            if let mac = IPAMNames.vxlanMAC(node: node) { wanted[CalicoKeys.vxlanTunnelMAC] = "\(mac)" }
        }
        var changes = JSONObject()
        for (key, value) in wanted.sorted(by: { $0.key < $1.key }) where object.annotations[key] != value {
            changes[key] = JSON(value)
        }
        if tunnel == nil, object.annotations[CalicoKeys.vxlanTunnelAddress] != nil {
            changes[CalicoKeys.vxlanTunnelAddress] = .null
        }
        if !changes.isEmpty {
            try await client.patch(.nodes, node, type: .merge, ["metadata": ["annotations": .object(changes)]])
        }
        try await book.tidy()
        try await notePools()
    }

    /// The tunnel's address: taken from a pool that is carried in the tunnel, and replaced when that pool is gone and
    /// another is there. Without any such pool the old one stays, for the pods that outlive their pool.
    private func tunnelAddress() async throws -> IPAddress? {
        let snapshot = await book.snapshot()
        guard let labels = snapshot.nodes[node] else { return nil }
        let candidates = snapshot.pools.filter {
            $0.cidr.family == .v4 && !$0.isDisabled && !$0.isBeingDeleted && $0.notAllocatable == nil
                && $0.allowedUses.contains(.tunnel) && $0.carriage != .never && $0.nodeSelector.matches(labels)
        }
        let handleID = IPAMNames.vxlanTunnelHandleID(node: node)
        let held = snapshot.blocks.values.lazy.compactMap { block in
            block.ordinals(ofHandle: handleID).first.flatMap { block.address(at: $0) }
        }.first
        if let held {
            if candidates.isEmpty || candidates.contains(where: { $0.cidr.contains(held) }) { return held }
            try await book.release(handleIDs: [handleID])
            logger.notice("the tunnel leaves \(held), whose pool is gone")
        }
        guard !candidates.isEmpty else { return nil }
        do {
            let assigned = try await book.assign(
                AddressRequest(
                    node: node, use: .tunnel, handleID: handleID,
                    values: ["node": node, "type": "vxlanTunnelAddress"], subject: "the VXLAN tunnel",
                    choice: .init(candidates.map(\.name), source: "the node's tunnel")))
            logger.info("the tunnel has \(assigned.explanation)")
            return assigned.address
        } catch let refusal as AddressRefusal {
            logger.error("\(refusal)")
            return nil
        }
    }

    /// Says on each pool that asks for IP in IP how it is carried instead. Of the nodes that a pool selects, the first
    /// one does.
    private func notePools() async throws {
        let nodes = view.nodes.all()
        for object in view.pools.all() {
            guard let pool = try? IPPool(object) else { continue }
            let speaker = nodes.filter { pool.nodeSelector.matches($0.labels) }.map(\.name).min()
            guard speaker == node || (speaker == nil && nodes.map(\.name).min() == node) else { continue }
            let note = pool.ipipMode == .never ? nil : pool.encapsulationNote(kernelHasIPIP: try await hasIPIP())
            guard object.annotations[CalicoKeys.encapsulationNote] != note else { continue }
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

    private func hasIPIP() async throws -> Bool {
        if let kernelHasIPIP { return kernelHasIPIP }
        let found = try await OwnThread.run(awaiting: { try KernelFeatures.probe().has(.ipip) })
        kernelHasIPIP = found
        return found
    }
}
