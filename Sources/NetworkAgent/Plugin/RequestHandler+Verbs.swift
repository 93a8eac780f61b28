// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import IPAM
import Linux
import Logging
import NetworkModel
import Values

/// DEL, CHECK, GC and STATUS.
extension RequestHandler {
    /// The link goes at once, also while the API server is away; the address when it has answered.
    func delete(_ call: PluginCall) async throws {
        let sandbox = call.sandbox
        let link = sandbox.link
        let isWired = !call.parameters.isIPAM
        if isWired { hostPorts?.release(sandbox.handleID) }
        if isWired {
            let previous = try? call.configuration.previousResult()
            let addresses = previous?.ips.map(\.address.address) ?? []
            do {
                try await OwnThread.run(awaiting: { [dataplane] in
                    try dataplane.disconnect(link, addresses: addresses)
                })
            } catch {
                throw CNIError(.tryAgainLater, "\(sandbox.subject): its link cannot be removed: \(error)")
            }
        }
        // What the agent cannot do now it does when it has reached the API server: the runtime need not come again.
        if pods.missing != nil, try await book.releaseLater(handleIDs: [sandbox.handleID]) { return }
        try await waitForObjects("DEL")
        do {
            let freed = try await book.release(handleIDs: [sandbox.handleID])
            if isWired { try dataplane.disconnect(link, addresses: freed) }
            if !freed.isEmpty {
                logger.info("\(sandbox.subject): \(freed.map { "\($0)" }.joined(separator: ", ")) is free again")
            }
        } catch {
            throw CNIError(.tryAgainLater, "\(sandbox.subject): its address cannot be released now: \(error)")
        }
    }

    func check(_ call: PluginCall) async throws {
        let sandbox = call.sandbox
        let addresses = try call.addressesToCheck()
        try await waitForObjects("CHECK")
        // A store that is not watched is read with a batch only.
        var held = Set(try await book.refreshed(sandbox.handleID).map(\.address))
        if held.isEmpty, let pod = try await pods.pod(of: sandbox) { held.formUnion(PodWishes.withoutIPAM(pod) ?? []) }
        if let address = addresses.first(where: { !held.contains($0) }) {
            throw CNIError(
                .plugin, "\(sandbox.subject): \(address) is not held by handle \(sandbox.handleID)",
                details: held.isEmpty
                    ? "the handle holds nothing: remove the container and start it again"
                    : "it holds \(held.sorted().map { "\($0)" }.joined(separator: ", "))")
        }
        guard !call.parameters.isIPAM else { return }
        let netns = try call.namespace()
        var wanted = sandbox.link
        wanted.routeProtocol = routeProtocol
        wanted.allowsForwarding = PodWishes.allowsForwarding(call.configuration)
        let link = wanted
        let asked = try call.mtu
        do {
            let mtu = if let asked { asked } else { try await self.mtu() }
            try await order.run(link.hostInterface) { [dataplane] in
                try await OwnThread.run(awaiting: {
                    defer { dataplane.learn(link, netns: netns, addresses: addresses, mtu: mtu) }
                    try dataplane.inspect(link, netns: netns, addresses: addresses)
                })
            }
        } catch {
            throw CNIError(.plugin, "\(sandbox.subject): \(error)")
        }
    }

    /// Puts right the links of sandboxes that somebody else has changed. Those that fail are looked at again.
    func repairSandboxes() async throws {
        for name in dataplane.takeDamaged() {
            try await order.run(name) { [dataplane] in
                try await OwnThread.run(awaiting: {
                    do { try dataplane.repairSandbox(name) } catch {
                        dataplane.noteDamage(name)
                        throw error
                    }
                })
            }
        }
    }

    /// Takes back what sandboxes of this network hold that the runtime does not know.
    func collect(_ call: PluginCall) async throws {
        try await waitForObjects("GC")
        let network = call.configuration.name
        let valid = Set(
            call.configuration.validAttachments.map {
                IPAMNames.handleID(network: network, containerID: $0.containerID, interface: $0.ifName)
            })
        _ = try await book.refreshed("")
        var stale: [String: [(IPAddress, [String: String])]] = [:]
        for block in await book.snapshot().blocks.values {
            for (address, attribute) in block.assignments where attribute.values["node"] == node {
                guard let handleID = attribute.handleID, !valid.contains(handleID),
                    attribute.values["network"].map({ $0 == network }) ?? handleID.hasPrefix("\(network).")
                else { continue }
                stale[handleID, default: []].append((address, attribute.values))
            }
        }
        for (handleID, held) in stale where !call.parameters.isIPAM {
            hostPorts?.release(handleID)
            guard let values = held.first?.1, let link = Sandbox.link(values, handleID: handleID) else { continue }
            let addresses = held.map(\.0)
            try await OwnThread.run(awaiting: { [dataplane] in
                try dataplane.disconnect(link, addresses: addresses)
            })
        }
        try await book.release(handleIDs: Array(stale.keys))
        guard !call.parameters.isIPAM else { return }
        // Those whose addresses IPAM does not know.
        try await OwnThread.run(awaiting: { [dataplane] in
            for link in try dataplane.sandboxLinks()
            where link.handleID.hasPrefix("\(network).") && !valid.contains(link.handleID) {
                try dataplane.disconnect(link, addresses: [])
            }
        })
    }

    func status(_ call: PluginCall) async throws {
        if let missing = pods.missing {
            throw CNIError(
                .notAvailable, "the agent of node \(node) has not reached the API server",
                details: "still missing: \(missing)")
        }
        // The configuration's own mistakes would fail every ADD.
        _ = try PodWishes(call.sandbox, pod: nil, namespace: nil, call.configuration)
        do { _ = try await book.refreshed("") } catch {
            throw CNIError(.notAvailable, "addresses cannot be given out: \(error)")
        }
    }
}
