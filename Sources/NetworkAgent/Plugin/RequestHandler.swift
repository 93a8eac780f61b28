// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import IPAM
import KubeObjects
import Linux
import Logging
import NetworkModel
import Values

/// Carries out the plugin's requests: addresses from the `AddressBook`, links through the `Dataplane`. The agent and the
/// plugin that works without one differ in what they give it.
struct RequestHandler: Sendable {
    let node: String
    let pods: any PodDirectory
    let book: AddressBook
    let dataplane: Dataplane
    let logger: Logger
    /// Whom the host's routes belong to.
    var routeProtocol = RouteProtocol.calico
    /// The MTU that pods get.
    var mtu: @Sendable () async throws -> Int
    /// What else the node needs for its sandboxes to be connected; called before an ADD is answered.
    var prepareNode: @Sendable () async throws -> Void = {}
    /// Nil where nobody looks after the node's ports.
    var hostPorts: HostPortBook?
    let order = SandboxOrder()

    func answer(_ parameters: CNIParameters, _ configuration: NetworkConfiguration, _ netns: Int32?) async throws
        -> JSON
    {
        let call = PluginCall(parameters, configuration, netns)
        switch parameters.command {
        case .add:
            return try await order.run(call.sandbox.link.hostInterface) {
                parameters.isIPAM ? try await assign(call) : try await add(call)
            }
        case .delete:
            try await order.run(call.sandbox.link.hostInterface) { try await delete(call) }
        case .check: try await check(call)
        case .garbageCollect: try await collect(call)
        case .status: try await status(call)
        case .version: return PluginVersions().json(asked: configuration.cniVersion.rawValue)
        }
        return [:]
    }

    // MARK: ADD

    private func add(_ call: PluginCall) async throws -> JSON {
        let netns = try call.namespace()
        try call.validate()
        try await waitForObjects("ADD")
        let sandbox = call.sandbox
        let (assigned, wishes, pod) = try await addresses(call)
        let addresses = assigned.addresses.map(\.address)
        let link = link(sandbox, wishes)
        let wired: PodLink.Wired
        do {
            let asked = try call.mtu
            let mtu = if let asked { asked } else { try await self.mtu() }
            try claimHostPorts(call, addresses)
            async let annotated: Void = annotate(pod, sandbox, addresses)
            wired = try await OwnThread.run(awaiting: { [dataplane] in
                try dataplane.connect(link, netns: netns, addresses: addresses, mtu: mtu)
            })
            await annotated
            try await prepareNode()
        } catch {
            // A failed ADD leaves nothing, unless it was repeated for a sandbox that works already.
            if assigned.isNew { await giveBack(sandbox, addresses) }
            throw CNIError(.plugin, "\(sandbox.subject): the sandbox cannot be connected: \(error)")
        }
        if let pod, assigned.isNew { pods.record(pod, assigned.explanation) }
        logger.info("\(sandbox.subject): \(assigned.explanation)")
        return try call.result(link, wired, addresses).json(version: call.configuration.cniVersion)
    }

    /// `portMappings` of the runtime: ports of the node that are to lead to the sandbox.
    private func claimHostPorts(_ call: PluginCall, _ addresses: [IPAddress]) throws {
        let ports = try HostPort.read(call.configuration.json["runtimeConfig"]["portMappings"], addresses)
        guard let hostPorts else {
            guard let port = ports.first else { return }
            throw HostPortBook.Taken(
                description:
                    "host port \(port.name) needs an agent on the node: run one, or leave capability portMappings to the portmap plugin"
            )
        }
        try hostPorts.claim(ports, call.sandbox)
    }

    private func link(_ sandbox: Sandbox, _ wishes: PodWishes) -> PodLink {
        var link = sandbox.link
        link.mac = wishes.mac
        link.allowsForwarding = wishes.allowsForwarding
        link.routeProtocol = routeProtocol
        return link
    }

    /// Addresses for the sandbox, committed.
    private func addresses(_ call: PluginCall) async throws -> (AddressBook.Assigned, PodWishes, KubeObject?) {
        guard try await !pods.isLocked() else {
            throw CNIError(
                .tryAgainLater, "\(call.sandbox.subject): the datastore is locked, no addresses are given out",
                details: "ClusterInformation default has spec.datastoreReady false: calicoctl datastore migrate unlock")
        }
        let pod = try await pods.pod(of: call.sandbox)
        let (request, wishes) = try await request(call, pod)
        if !wishes.outside.isEmpty {
            return (try await admit(wishes.outside, call.sandbox), wishes, pod)
        }
        do {
            return (try await book.assign(request), wishes, pod)
        } catch let refusal as AddressRefusal {
            throw CNIError(.tryAgainLater, refusal.description)
        } catch let overdue as AddressBook.Overdue {
            throw CNIError(.tryAgainLater, overdue.description)
        } catch let contention as AddressBook.Contention {
            throw CNIError(.tryAgainLater, contention.description)
        }
    }

    /// Addresses that IPAM has nothing to do with: taken as they are, unless somebody has them, or may get them.
    private func admit(_ addresses: [IPAddress], _ sandbox: Sandbox) async throws -> AddressBook.Assigned {
        let key = CalicoKeys.ipAddressesWithoutIPAM
        // A store that is not watched is read with a batch only.
        _ = try await book.refreshed(sandbox.handleID)
        let snapshot = await book.snapshot()
        var own = 0
        for address in addresses {
            if let owner = dataplane.owner(of: address) {
                guard owner == sandbox.link.hostInterface else {
                    throw CNIError(
                        .plugin, "\(sandbox.subject): annotation \(key) asks for \(address), which is that of \(owner)",
                        details: "another pod of node \(node) has it: ask for another address")
                }
                own += 1
            }
            if let refusal = OutsideAddress.refusal(address, snapshot) {
                throw CNIError(.plugin, "\(sandbox.subject): \(refusal)", details: refusal.nextStep)
            }
        }
        let list = addresses.map { "\($0)" }.joined(separator: ", ")
        return AddressBook.Assigned(
            addresses: addresses.map { HeldAddress(address: $0, block: CIDR(host: $0)) },
            explanation: "\(list), because annotation \(key) says so; IPAM does not know of it",
            isNew: own < addresses.count)
    }

    /// ADD for another plugin, which makes the interface.
    private func assign(_ call: PluginCall) async throws -> JSON {
        try await waitForObjects("ADD")
        let (assigned, _, pod) = try await addresses(call)
        do {
            let snapshot = await book.snapshot()
            let answer = try IPAMAnswer(call, assigned.addresses, snapshot)
            if let pod, assigned.isNew { pods.record(pod, assigned.explanation) }
            logger.info("\(call.sandbox.subject): \(assigned.explanation)")
            return answer.result.json(version: call.configuration.cniVersion)
        } catch {
            if assigned.isNew { try await book.release(handleIDs: [call.sandbox.handleID]) }
            throw error
        }
    }

    /// The runtime gives up long before an API server that cannot be reached comes back.
    func waitForObjects(_ command: String) async throws {
        if pods.missing == nil { return }
        let arrived = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                await pods.waitUntilComplete()
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
                details: "still missing: \(pods.missing ?? "nothing any more")")
        }
    }

    private func request(_ call: PluginCall, _ pod: KubeObject?) async throws -> (AddressRequest, PodWishes) {
        let sandbox = call.sandbox
        var request = AddressRequest(
            node: node, use: .workload, handleID: sandbox.handleID,
            values: sandbox.values.merging(["node": node, "timestamp": "\(Timestamp.now)"]) { own, _ in own },
            subject: sandbox.subject)
        var space: KubeObject?
        if let pod, let name = pod.namespace {
            let namespace = try await pods.namespace(name)
            request.namespace = name
            request.namespaceLabels = namespace.labels
            request.namespaceLabels["projectcalico.org/name"] = name
            space = namespace
        }
        let wishes = try PodWishes(sandbox, pod: pod, namespace: space, call.configuration)
        request.families = wishes.families
        request.choices = wishes.choices
        request.explicit = wishes.explicit
        return (request, wishes)
    }

    private func annotate(_ pod: KubeObject?, _ sandbox: Sandbox, _ addresses: [IPAddress]) async {
        // The annotations have room for the first interface alone.
        guard let pod, sandbox.ifName == "eth0" else { return }
        let cidrs = addresses.map { CIDR(host: $0).description }
        do {
            try await pods.annotate(
                pod,
                [
                    (CalicoKeys.podIP, cidrs.first ?? ""), (CalicoKeys.podIPs, cidrs.joined(separator: ",")),
                    (CalicoKeys.containerID, sandbox.containerID),
                ])
        } catch {
            // The kubelet reports the address as well; the annotations are for those who know Calico's.
            logger.warning("\(sandbox.subject): its annotations are not written: \(error)")
        }
    }

    private func giveBack(_ sandbox: Sandbox, _ addresses: [IPAddress]) async {
        hostPorts?.release(sandbox.handleID)
        let link = sandbox.link
        do {
            try await OwnThread.run(awaiting: { [dataplane] in try dataplane.disconnect(link, addresses: addresses) })
            try await book.release(handleIDs: [sandbox.handleID])
        } catch {
            logger.error("\(sandbox.subject): what a failed ADD made is not all removed: \(error)")
        }
    }
}
