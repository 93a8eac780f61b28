// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import NetworkModel
import Values

/// One request of a runtime.
struct PluginCall: Sendable {
    let parameters: CNIParameters
    let configuration: NetworkConfiguration
    let netns: Int32?
    let sandbox: Sandbox

    init(_ parameters: CNIParameters, _ configuration: NetworkConfiguration, _ netns: Int32?) {
        self.parameters = parameters
        self.configuration = configuration
        self.netns = netns
        sandbox = Sandbox(parameters, network: configuration.name)
    }

    func namespace() throws(CNIError) -> Int32 {
        guard let netns else {
            throw CNIError(.invalidEnvironment, "\(parameters.command.rawValue) came without a network namespace")
        }
        return netns
    }

    /// What would only be noticed after something was made.
    func validate() throws(CNIError) {
        _ = try mtu
        _ = try configuration.previousResult()
    }

    /// `mtu` of the configuration; nil leaves it to the node.
    var mtu: Int? {
        get throws(CNIError) {
            switch configuration.json["mtu"] {
            case nil, .null: return nil
            case .some(let value):
                guard let mtu = value.int, mtu == 0 || (68...65535).contains(mtu) else {
                    throw CNIError(
                        .invalidConfiguration, "mtu is \(value), which is no number of bytes from 68 to 65535",
                        details: "0, or leaving it out, takes the node's")
                }
                return mtu == 0 ? nil : mtu
            }
        }
    }

    /// What ADD answers: what the plugins before this one made, and the pair.
    func result(_ link: PodLink, _ wired: PodLink.Wired, _ addresses: [IPAddress]) throws(CNIError) -> CNIResult {
        var result = try configuration.previousResult() ?? CNIResult()
        let first = result.interfaces.count
        result.interfaces += [
            .init(name: link.hostInterface, mac: PodLink.hostMAC.map { "\($0)" }),
            .init(
                name: link.podInterface, mac: wired.mac.map { "\($0)" }, mtu: wired.mtu, sandbox: parameters.netnsPath),
        ]
        result.ips += addresses.map { .init(CIDR(host: $0), interface: first + 1) }
        if result.dns.isEmpty, let dns = configuration.json["dns"], !dns.isNull {
            result.dns = try CNIResult(["dns": dns]).dns
        }
        return result
    }

    /// The addresses of `prevResult` that are this plugin's.
    func addressesToCheck() throws(CNIError) -> [IPAddress] {
        guard let previous = try configuration.previousResult() else {
            throw CNIError(.invalidConfiguration, "CHECK needs prevResult")
        }
        if parameters.isIPAM { return previous.ips.map(\.address.address) }
        // A plugin of the chain may have added interfaces with addresses of their own.
        let addresses = previous.ips.filter { entry in
            guard let index = entry.interface, previous.interfaces.indices.contains(index) else { return true }
            return previous.interfaces[index].name == sandbox.ifName
        }.map(\.address.address)
        guard !addresses.isEmpty else {
            throw CNIError(.invalidConfiguration, "CHECK needs prevResult with an address of \(sandbox.ifName)")
        }
        return addresses
    }
}
