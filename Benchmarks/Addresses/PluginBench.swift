// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import KubeClient
import KubeObjects
import Linux
import Values

/// ADD and DEL of the plugin, with a real agent and API behind it, beside Debian's ptp with host-local in the same
/// namespace of the same run.
enum PluginBench {
    private static let count = 200
    private static let reference = "/usr/lib/cni"

    private struct Plugin: Sendable {
        let name: String
        let executable: String
        let folder: String
        let configuration: [UInt8]
        let arguments: String
    }

    static func run() async throws {
        guard Files.exists("\(reference)/ptp") else {
            print("plugin: Debian's containernetworking-plugins are not installed (scripts/install-packages): left out")
            return
        }
        let rig = try await Rig(nodes: 1, pool: "10.0.0.0/16")
        try await rig.withAgents {
            var account = KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default")
            account["automountServiceAccountToken"] = false
            _ = try? await rig.server.client.create(.serviceAccounts, account)
            for index in 0..<count {
                try rig.makeNamespace("pod-\(index)")
                var pod = KubeObject(.pods, kind: "Pod", name: "pod-\(index)", namespace: "default")
                pod["spec"] = ["nodeName": "n1", "containers": [["name": "c", "image": "none"]]]
                try await rig.server.client.create(.pods, pod)
            }
            let list = try NetworkConfigurationList(parsing: Files.read(rig.conflist("n1")))
            guard let own = list.configuration(plugin: 0, previousResult: nil) else { return }
            let ptp: JSON = [
                "cniVersion": "1.0.0", "name": "reference", "type": "ptp",
                "ipam": ["type": "host-local", "subnet": "10.99.0.0/16", "dataDir": JSON("\(rig.folder)/host-local")],
            ]
            let plugins = [
                Plugin(
                    name: "ptp and host-local", executable: "\(reference)/ptp", folder: reference,
                    configuration: ptp.serialized(), arguments: ""),
                Plugin(
                    name: "catbird-cni", executable: "\(rig.binaries("n1"))/calico", folder: rig.binaries("n1"),
                    configuration: own.serialized(),
                    arguments: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME="),
            ]
            for width in [1, 8] {
                var floors: [String: [Double]] = [:]
                for plugin in plugins {
                    for command in ["ADD", "DEL"] {
                        let times = try await call(command, plugin, rig, width: width)
                        let floor = floors[command] ?? times
                        floors[command] = floor
                        let (half, most) = (Measure.quantile(times, 0.5), Measure.quantile(times, 0.99))
                        print(
                            "plugin \(plugin.name), \(count) \(command), \(width) at a time: p50 \(Measure.text(half * 1000)) ms, p99 \(Measure.text(most * 1000)) ms (\(Measure.text(half / Measure.quantile(floor, 0.5))) and \(Measure.text(most / Measure.quantile(floor, 0.99))) of ptp's)"
                        )
                    }
                }
            }
        }
    }

    /// Seconds that each call took.
    private static func call(_ command: String, _ plugin: Plugin, _ rig: Rig, width: Int) async throws -> [Double] {
        try await withThrowingTaskGroup(of: [Double].self) { group in
            for lane in 0..<width {
                group.addTask {
                    var times: [Double] = []
                    for index in stride(from: lane, to: count, by: width) {
                        var spawner = ProcessSpawner(plugin.executable, [])
                        spawner.namespaces.net = rig.namespace("n1")
                        spawner.environment = [
                            "CNI_COMMAND": command, "CNI_CONTAINERID": "sandbox-\(width)-\(index)",
                            "CNI_NETNS": rig.path("pod-\(index)"), "CNI_IFNAME": "eth0", "CNI_PATH": plugin.folder,
                            "CNI_ARGS": plugin.arguments.isEmpty ? "" : "\(plugin.arguments)pod-\(index)",
                        ]
                        let clock = ContinuousClock()
                        let start = clock.now
                        let output = try await spawner.run(input: plugin.configuration)
                        times.append((clock.now - start) / .seconds(1))
                        guard output.status.isSuccess else {
                            throw Failed(description: "\(plugin.name) \(command): \(output.text)\(output.errorText)")
                        }
                    }
                    return times
                }
            }
            var times: [Double] = []
            for try await part in group { times += part }
            return times
        }
    }

    private struct Failed: Error, CustomStringConvertible {
        let description: String
    }
}
