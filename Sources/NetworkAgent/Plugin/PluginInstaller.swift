// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// Puts the plugin and the network's configuration where the node's container runtime looks for them.
struct PluginInstaller: Sendable {
    static let fileName = "10-calico.conflist"

    let configuration: NetworkAgentConfiguration
    let node: String

    /// The executable first and the configuration last: it is what tells the runtime that pods can start.
    func install() throws {
        if let directory = configuration.binaryDirectory { try installPlugin(directory) }
        guard let directory = configuration.networkDirectory else { return }
        try Files.makeDirectories(directory)
        let path = "\(directory)/\(Self.fileName)"
        let bytes = network.serialized(indent: 2) + [0x0A]
        if let present = try? Files.read(path), present == bytes { return }
        try Files.replace(path, with: bytes, mode: 0o600, durable: false)
    }

    /// Under its own name, with links for the names that Calico's configurations use.
    private func installPlugin(_ directory: String) throws {
        try Files.makeDirectories(directory)
        let target = "\(directory)/catbird-cni"
        let source = try Files.read(configuration.pluginPath, limit: 256 << 20)
        if (try? Files.read(target, limit: 256 << 20)) != source {
            try Files.replace(target, with: source, mode: 0o755, durable: false)
        }
        for name in ["calico", "calico-ipam"] {
            let path = "\(directory)/\(name)"
            if (try? Files.target(ofLink: path)) == "catbird-cni" { continue }
            // Made beside it and moved over, so that the name is never missing.
            let temporary = "\(path).\(getpid()).tmp"
            unlink(temporary)
            try Files.link("catbird-cni", at: temporary)
            guard rename(temporary, path) == 0 else {
                let failure = Errno("rename", path)
                unlink(temporary)
                throw failure
            }
        }
    }

    private var network: JSON {
        var calico: JSON = [
            "type": "calico", "log_level": "info", "datastore_type": "kubernetes", "nodename": JSON(node),
            "mtu": JSON(configuration.mtu ?? 0), "ipam": ["type": "calico-ipam"], "policy": ["type": "k8s"],
        ]
        if configuration.socketPath != NetworkAgentConfiguration().socketPath {
            calico["agentSocket"] = JSON(configuration.socketPath)
        }
        var plugins: [JSON] = [calico]
        if let directory = configuration.binaryDirectory, Files.exists("\(directory)/portmap") {
            plugins.append(["type": "portmap", "snat": true, "capabilities": ["portMappings": true]])
        }
        return [
            "name": JSON(configuration.networkName), "cniVersion": "1.0.0", "plugins": .array(plugins),
        ]
    }
}
