// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Linux
import Logging
import NetworkModel
import Values

/// Containers whose addresses another plugin gives: `"ipam": {"type": "host-local", …}`.
struct DelegatedIPAM: Sendable {
    let type: String
    let dataplane: Dataplane
    let environment: [String: String]
    let mtu: @Sendable () async throws -> Int

    func answer(_ call: PluginCall) async throws -> JSON {
        switch call.parameters.command {
        case .add: return try await add(call)
        case .delete: try await delete(call)
        case .check: try await check(call)
        case .garbageCollect: try await ask(call, "GC")
        case .status: try await ask(call, "STATUS")
        case .version: return PluginVersions().json(asked: call.configuration.cniVersion.rawValue)
        }
        return [:]
    }

    private func link(_ call: PluginCall) -> PodLink {
        var link = call.sandbox.link
        link.allowsForwarding = PodWishes.allowsForwarding(call.configuration)
        link.routeProtocol = .plugin
        return link
    }

    private func add(_ call: PluginCall) async throws -> JSON {
        let netns = try call.namespace()
        try call.validate()
        let given = try CNIResult(try await ask(call, "ADD"))
        do {
            let addresses = given.ips.map(\.address.address)
            guard !addresses.isEmpty else {
                throw CNIError(.plugin, "IPAM plugin \(type) gave no address", details: "its answer has no ips")
            }
            let wishes = try PodWishes(call.sandbox, pod: nil, namespace: nil, call.configuration, isDelegated: true)
            var wanted = link(call)
            wanted.mac = wishes.mac
            let link = wanted
            let asked = try call.mtu
            let mtu = if let asked { asked } else { try await self.mtu() }
            let wired = try await OwnThread.run(awaiting: { [dataplane] in
                try dataplane.connect(link, netns: netns, addresses: addresses, mtu: mtu)
            })
            var result = try call.result(link, wired, addresses)
            if !given.dns.isEmpty { result.dns = given.dns }
            return result.json(version: call.configuration.cniVersion)
        } catch {
            // A failed ADD leaves nothing.
            _ = try? await ask(call, "DEL")
            if let error = error as? CNIError { throw error }
            throw CNIError(.plugin, "\(call.sandbox.subject): the sandbox cannot be connected: \(error)")
        }
    }

    private func delete(_ call: PluginCall) async throws {
        let link = link(call)
        try await OwnThread.run(awaiting: { [dataplane] in try dataplane.disconnect(link, addresses: []) })
        try await ask(call, "DEL")
    }

    private func check(_ call: PluginCall) async throws {
        let netns = try call.namespace()
        let addresses = try call.addressesToCheck()
        try await ask(call, "CHECK")
        let link = link(call)
        do {
            try await OwnThread.run(awaiting: { [dataplane] in
                try dataplane.inspect(link, netns: netns, addresses: addresses)
            })
        } catch {
            throw CNIError(.plugin, "\(call.sandbox.subject): \(error)")
        }
    }

    /// Runs the IPAM plugin with this plugin's own configuration, as the specification has it.
    @discardableResult
    private func ask(_ call: PluginCall, _ command: String) async throws -> JSON {
        let folders = call.parameters.path.split(separator: ":").map(String.init)
        guard let path = folders.map({ "\($0)/\(type)" }).first(where: { Files.exists($0) }) else {
            throw CNIError(
                .invalidConfiguration, "ipam.type \"\(type)\": there is no such plugin in CNI_PATH",
                details: "CNI_PATH is \"\(call.parameters.path)\"; known without a plugin is calico-ipam")
        }
        var spawner = ProcessSpawner(path, [])
        spawner.environment = environment.merging(
            ["CNI_COMMAND": command, "CNI_NETNS": call.parameters.netnsPath]) { _, own in own }
        let output = try await spawner.run(input: call.configuration.json.serialized())
        let answer = output.output.isEmpty ? [:] : try? JSON(parsing: output.output)
        guard output.status.isSuccess else {
            if let error = answer.flatMap({ CNIError($0) }) {
                throw CNIError(error.code, "IPAM plugin \(type): \(error.message)", details: error.details)
            }
            throw CNIError(
                .plugin, "IPAM plugin \(type) failed with \(output.status)",
                details: String(decoding: output.errors.prefix(1000), as: UTF8.self))
        }
        guard let answer else { throw CNIError(.undecodable, "IPAM plugin \(type) did not answer in JSON") }
        return answer
    }
}
