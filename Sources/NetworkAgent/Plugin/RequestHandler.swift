// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import IPAM
import KubeClient
import KubeObjects
import Linux
import Logging
import NetworkModel
import Values

/// Carries out the plugin's requests: addresses from the `AddressBook`, links through the `Dataplane`.
struct RequestHandler: Sendable {
    let client: KubeClient
    let node: String
    let networkName: String
    let view: ClusterView
    let book: AddressBook
    let dataplane: Dataplane
    let recorder: EventRecorder
    let logger: Logger
    /// The MTU that pods get.
    let mtu: @Sendable () async -> Int

    func answer(_ parameters: CNIParameters, _ configuration: NetworkConfiguration, _ netns: Int32?) async throws
        -> JSON
    {
        switch parameters.command {
        case .add: return try await add(parameters, configuration, netns)
        case .delete: try await delete(parameters, configuration)
        case .check: try await check(parameters, configuration, netns)
        case .garbageCollect: try await collect(configuration)
        case .status: try status()
        case .version: return PluginVersions().json(asked: configuration.cniVersion.rawValue)
        }
        return [:]
    }

    // MARK: ADD

    private func add(
        _ parameters: CNIParameters, _ configuration: NetworkConfiguration, _ netns: Int32?
    ) async throws -> JSON {
        guard let netns else { throw CNIError(.invalidEnvironment, "ADD came without a network namespace") }
        try await waitForObjects("ADD")
        let sandbox = Sandbox(parameters, networkName)
        let pod = try await pod(of: sandbox)
        let (request, wishes) = try await request(sandbox, pod, configuration)
        let assigned: AddressBook.Assigned
        do {
            assigned = try await book.assign(request)
        } catch let refusal as AddressRefusal {
            throw CNIError(.tryAgainLater, refusal.description)
        }
        var wanted = sandbox.link
        wanted.mac = wishes.mac
        wanted.allowsForwarding = wishes.allowsForwarding
        let link = wanted
        let addresses = assigned.addresses.map(\.address)
        let wired: PodLink.Wired
        do {
            let mtu = configuration.json["mtu"].int.flatMap { $0 > 0 ? $0 : nil }
            let effective: Int
            if let mtu { effective = mtu } else { effective = await self.mtu() }
            async let annotated: Void = annotate(pod, sandbox, addresses)
            wired = try await OwnThread.run(awaiting: { [dataplane] in
                try dataplane.connect(link, netns: netns, addresses: addresses, mtu: effective)
            })
            await annotated
        } catch {
            // A failed ADD leaves nothing, unless it was repeated for a sandbox that works already.
            if assigned.isNew { await giveBack(sandbox, addresses) }
            throw CNIError(.plugin, "\(sandbox.subject): the sandbox cannot be connected: \(error)")
        }
        if let pod, assigned.isNew {
            recorder.record(pod, type: .normal, reason: "AddressAssigned", message: assigned.explanation)
        }
        logger.info("\(sandbox.subject): \(assigned.explanation)")
        return CNIResult(
            interfaces: [
                .init(name: link.hostInterface, mac: PodLink.hostMAC.map { "\($0)" }),
                .init(
                    name: link.podInterface, mac: wired.mac.map { "\($0)" }, mtu: wired.mtu, sandbox: parameters.netns),
            ],
            ips: addresses.map { .init(CIDR(host: $0), interface: 1) }
        ).json(version: configuration.cniVersion)
    }

    /// The runtime gives up long before an API server that cannot be reached comes back.
    private func waitForObjects(_ command: String) async throws {
        if view.canGiveAddresses { return }
        let arrived = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                await view.waitForAddresses()
                return !Task.isCancelled
            }
            group.addTask {
                try? await Task.sleep(for: .seconds(30))
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
        guard arrived else {
            throw CNIError(
                .tryAgainLater,
                "the agent of node \(node) has not reached the API server, \(command) will have to be repeated",
                details: "still missing: \(view.missingForAddresses)")
        }
    }

    /// The pod of the sandbox; nil for a container of no pod.
    private func pod(of sandbox: Sandbox) async throws -> KubeObject? {
        guard let name = sandbox.pod, let namespace = sandbox.namespace else { return nil }
        let cached = view.pods[namespace, name]
        if let cached, sandbox.uid.map({ $0 == cached.uid }) ?? true { return cached }
        do {
            let pod = try await client.get(.pods, name, in: namespace)
            guard sandbox.uid.map({ $0 == pod.uid }) ?? true else {
                throw CNIError(
                    .plugin,
                    "\(sandbox.subject) is another one by now: its uid is \(pod.uid), and the sandbox is for \(sandbox.uid ?? "")"
                )
            }
            return pod
        } catch let error as APIError where error.isNotFound {
            throw CNIError(.plugin, "\(sandbox.subject) does not exist any more")
        }
    }

    private func request(
        _ sandbox: Sandbox, _ pod: KubeObject?, _ configuration: NetworkConfiguration
    ) async throws -> (AddressRequest, PodWishes) {
        var request = AddressRequest(
            node: node, use: .workload, handleID: sandbox.handleID,
            values: ["node": node, "timestamp": "\(Timestamp.now)"], subject: sandbox.subject)
        guard let pod, let name = sandbox.pod, let namespace = sandbox.namespace else {
            request.values["containerID"] = sandbox.containerID
            let wishes = try PodWishes(sandbox, pod: nil, namespace: nil, configuration)
            request.take(wishes)
            return (request, wishes)
        }
        request.values["pod"] = name
        request.values["namespace"] = namespace
        let space: KubeObject
        if let cached = view.namespaces[nil, namespace] {
            space = cached
        } else {
            space = try await client.get(.namespaces, namespace)
        }
        request.namespace = namespace
        request.namespaceLabels = space.labels
        request.namespaceLabels["projectcalico.org/name"] = namespace
        let wishes = try PodWishes(sandbox, pod: pod, namespace: space, configuration)
        request.take(wishes)
        return (request, wishes)
    }

    private func annotate(_ pod: KubeObject?, _ sandbox: Sandbox, _ addresses: [IPAddress]) async {
        guard let pod else { return }
        let cidrs = addresses.map { CIDR(host: $0).description }
        do {
            try await client.patch(
                .pods, pod.name, in: pod.namespace, type: .merge,
                [
                    "metadata": [
                        "uid": JSON(pod.uid),
                        "annotations": .object([
                            CalicoKeys.podIP: JSON(cidrs.first ?? ""),
                            CalicoKeys.podIPs: JSON(cidrs.joined(separator: ",")),
                            CalicoKeys.containerID: JSON(sandbox.containerID),
                        ]),
                    ]
                ], subresource: "status")
        } catch {
            // The kubelet reports the address as well; the annotations are for those who know Calico's.
            logger.warning("\(sandbox.subject): its annotations are not written: \(error)")
        }
    }

    private func giveBack(_ sandbox: Sandbox, _ addresses: [IPAddress]) async {
        let link = sandbox.link
        do {
            try await OwnThread.run(awaiting: { [dataplane] in try dataplane.disconnect(link, addresses: addresses) })
            try await book.release(handleIDs: [sandbox.handleID])
        } catch {
            logger.error("\(sandbox.subject): what a failed ADD made is not all removed: \(error)")
        }
    }

    // MARK: DEL, CHECK, GC, STATUS

    /// The link goes at once, also while the API server is away; the address when it has answered.
    private func delete(_ parameters: CNIParameters, _ configuration: NetworkConfiguration) async throws {
        let sandbox = Sandbox(parameters, networkName)
        let link = sandbox.link
        let previous = try? configuration.previousResult()
        let addresses = previous?.ips.map(\.address.address) ?? []
        do {
            try await OwnThread.run(awaiting: { [dataplane] in try dataplane.disconnect(link, addresses: addresses) })
        } catch {
            throw CNIError(.tryAgainLater, "\(sandbox.subject): its link cannot be removed: \(error)")
        }
        // What the agent cannot do now it does when it has reached the API server: the runtime need not come again.
        if !view.canGiveAddresses, try await book.releaseLater(handleIDs: [sandbox.handleID]) { return }
        try await waitForObjects("DEL")
        do {
            let freed = try await book.release(handleIDs: [sandbox.handleID])
            try dataplane.disconnect(link, addresses: freed)
            if !freed.isEmpty {
                logger.info("\(sandbox.subject): \(freed.map { "\($0)" }.joined(separator: ", ")) is free again")
            }
        } catch {
            throw CNIError(.tryAgainLater, "\(sandbox.subject): its address cannot be released now: \(error)")
        }
    }

    private func check(_ parameters: CNIParameters, _ configuration: NetworkConfiguration, _ netns: Int32?) async throws
    {
        guard let netns else { throw CNIError(.invalidEnvironment, "CHECK came without a network namespace") }
        let sandbox = Sandbox(parameters, networkName)
        guard let previous = try configuration.previousResult() else {
            throw CNIError(.invalidConfiguration, "CHECK needs prevResult")
        }
        // A plugin of the chain may have added interfaces with addresses of their own.
        let addresses = previous.ips.filter { entry in
            guard let index = entry.interface, previous.interfaces.indices.contains(index) else { return true }
            return previous.interfaces[index].name == sandbox.ifName
        }.map(\.address.address)
        guard !addresses.isEmpty else {
            throw CNIError(.invalidConfiguration, "CHECK needs prevResult with an address of \(sandbox.ifName)")
        }
        try await waitForObjects("CHECK")
        let held = Set(await book.held(sandbox.handleID).map(\.address))
        if let address = addresses.first(where: { !held.contains($0) }) {
            throw CNIError(.plugin, "\(sandbox.subject): \(address) is not held by handle \(sandbox.handleID)")
        }
        var wanted = sandbox.link
        wanted.allowsForwarding = PodWishes.allowsForwarding(configuration)
        let link = wanted
        do {
            try await OwnThread.run(awaiting: { [dataplane] in
                try dataplane.inspect(link, netns: netns, addresses: addresses)
            })
        } catch {
            throw CNIError(.plugin, "\(sandbox.subject): \(error)")
        }
    }

    /// Takes back what sandboxes hold that the runtime does not know.
    private func collect(_ configuration: NetworkConfiguration) async throws {
        try await waitForObjects("GC")
        let valid = Set(
            configuration.validAttachments.map { IPAMNames.handleID(network: networkName, containerID: $0.containerID) }
        )
        var stale: [String: [(IPAddress, [String: String])]] = [:]
        for block in await book.snapshot().blocks.values {
            for (address, attribute) in block.assignments where attribute.values["node"] == node {
                guard let handleID = attribute.handleID, handleID.hasPrefix("\(networkName)."),
                    !valid.contains(handleID)
                else { continue }
                stale[handleID, default: []].append((address, attribute.values))
            }
        }
        for (handleID, held) in stale {
            guard let values = held.first?.1, let link = Sandbox.link(values, handleID: handleID) else { continue }
            let addresses = held.map(\.0)
            try await OwnThread.run(awaiting: { [dataplane] in
                try dataplane.disconnect(link, addresses: addresses)
            })
        }
        try await book.release(handleIDs: Array(stale.keys))
    }

    private func status() throws {
        guard view.canGiveAddresses else {
            throw CNIError(
                .notAvailable, "the agent of node \(node) has not reached the API server",
                details: "still missing: \(view.missingForAddresses)")
        }
    }
}

extension AddressRequest {
    fileprivate mutating func take(_ wishes: PodWishes) {
        families = wishes.families
        choices = wishes.choices
        explicit = wishes.explicit
    }
}
