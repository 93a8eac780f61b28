// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import Linux
import Values

/// Puts the plugin and the network's configuration where the node's container runtime looks for them.
struct PluginInstaller: Sendable {
    /// A network's configuration that cannot be written.
    struct Problem: Error, CustomStringConvertible {
        let description: String
    }

    let configuration: NetworkAgentConfiguration
    let node: String

    /// The executable first and the configuration last: it is what tells the runtime that pods can start.
    func install() throws {
        if let directory = configuration.binaryDirectory { try installPlugin(directory) }
        guard let directory = configuration.networkDirectory else { return }
        let name = configuration.networkFile
        guard !name.contains("/"), [".conflist", ".conf", ".json"].contains(where: { name.hasSuffix($0) }) else {
            throw Problem(
                description: "CNI_CONF_NAME is \"\(name)\": runtimes read files that end in .conflist, .conf or .json")
        }
        let bytes = try content()
        try Files.makeDirectories(directory)
        let path = "\(directory)/\(name)"
        if let present = try? Files.read(path), present == bytes { return }
        try Files.replace(path, with: bytes, mode: 0o600, durable: false)
    }

    /// The template with its placeholders filled in, as far as it is JSON then; else Catbird's own.
    private func content() throws -> [UInt8] {
        let text: String
        let source: String
        if let path = configuration.networkTemplatePath {
            (text, source) = (try Files.text(path), "CNI_NETWORK_CONFIG_FILE \(path)")
        } else if let template = configuration.networkTemplate {
            (text, source) = (template, "CNI_NETWORK_CONFIG")
        } else {
            return network.serialized(indent: 2) + [0x0A]
        }
        do {
            var json = try JSON(parsing: Self.replacing(text, with: placeholders))
            _ = try NetworkConfigurationList(json)
            if configuration.socketPath != AgentMessage.socketPath, let plugins = json["plugins"].array {
                json["plugins"] = .array(plugins.map(withSocket))
            }
            return json.serialized(indent: 2) + [0x0A]
        } catch {
            throw Problem(description: "\(source) is no network configuration: \(error)")
        }
    }

    private var placeholders: [(name: String, value: String)] {
        [
            ("__KUBERNETES_NODE_NAME__", node), ("__CNI_MTU__", "\(configuration.mtu ?? 0)"),
            ("__KUBECONFIG_FILEPATH__", "/etc/cni/net.d/calico-kubeconfig"),
            ("__KUBECONFIG_FILENAME__", "calico-kubeconfig"), ("__LOG_LEVEL__", "info"),
            ("__LOG_FILE_PATH__", "/var/log/calico/cni/cni.log"),
        ]
    }

    private static func replacing(_ text: String, with placeholders: [(name: String, value: String)]) -> String {
        var result = ""
        var rest = text[...]
        while let start = rest.firstIndex(of: "_") {
            result += rest[..<start]
            rest = rest[start...]
            if let found = placeholders.first(where: { rest.hasPrefix($0.name) }) {
                result += found.value
                rest = rest.dropFirst(found.name.count)
            } else {
                result.append("_")
                rest = rest.dropFirst()
            }
        }
        return result + rest
    }

    private func withSocket(_ plugin: JSON) -> JSON {
        guard ["calico", "catbird-cni"].contains(plugin["type"].string), plugin["agentSocket"] == nil else {
            return plugin
        }
        var plugin = plugin
        plugin["agentSocket"] = JSON(configuration.socketPath)
        return plugin
    }

    /// Under its own name, with links for the names that Calico's configurations use.
    private func installPlugin(_ directory: String) throws {
        try Files.makeDirectories(directory)
        let target = "\(directory)/catbird-cni"
        let isWanted = configuration.updatesBinaries || !Files.exists(target)
        if isWanted, !configuration.skippedBinaries.contains("catbird-cni") {
            let source = try Files.read(configuration.pluginPath, limit: 256 << 20)
            if (try? Files.read(target, limit: 256 << 20)) != source {
                try Files.replace(target, with: source, mode: 0o755, durable: false)
            }
        }
        for name in ["calico", "calico-ipam"] where !configuration.skippedBinaries.contains(name) {
            let path = "\(directory)/\(name)"
            if !configuration.updatesBinaries, Files.exists(path) { continue }
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
            "mtu": JSON(configuration.mtu ?? 0), "capabilities": ["portMappings": true],
            "ipam": ["type": "calico-ipam"], "policy": ["type": "k8s"],
        ]
        if configuration.socketPath != NetworkAgentConfiguration().socketPath {
            calico["agentSocket"] = JSON(configuration.socketPath)
        }
        return [
            "name": JSON(configuration.networkName), "cniVersion": "1.0.0", "plugins": .array([calico]),
        ]
    }
}
