// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import Values

/// The texts and values of a node's conditions.
package enum NodeConditions {
    package static func notReady(_ message: String) -> String {
        "NetworkReady=false reason:NetworkPluginNotReady message:\(message)"
    }

    /// All conditions; one that did not change keeps the time of its last transition.
    package static func compute(
        networkMessage: String?, previous: [JSON], now: Timestamp
    ) -> [JSON] {
        func condition(_ type: String, _ status: String, _ reason: String, _ message: String) -> JSON {
            let old = previous.first { $0["type"].string == type }
            let since = old["status"].string == status ? old["lastTransitionTime"].string : nil
            return [
                "type": JSON(type), "status": JSON(status), "lastHeartbeatTime": JSON(now.description),
                "lastTransitionTime": JSON(since ?? now.description), "reason": JSON(reason), "message": JSON(message),
            ]
        }
        return [
            condition(
                "MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            networkMessage.map {
                condition("Ready", "False", "KubeletNotReady", "container runtime network not ready: \(notReady($0))")
            } ?? condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ]
    }
}

/// The Node that stands for this machine.
package struct NodeObject: Sendable {
    let configuration: KubeletConfiguration
    let machine: Machine

    static let notReadyTaint = "node.kubernetes.io/not-ready"

    package init(configuration: KubeletConfiguration, machine: Machine) {
        self.configuration = configuration
        self.machine = machine
    }

    package var labels: [String: String] {
        let usual = [
            "kubernetes.io/hostname": configuration.nodeName, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": machine.architecture, "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": machine.architecture,
        ]
        return usual.merging(configuration.labels) { $1 }
    }

    /// A node that nobody knows yet.
    package func new(status: JSON) -> KubeObject {
        var node = KubeObject(.nodes, kind: "Node", name: configuration.nodeName, labels: labels)
        node.metadata["annotations"] = ["volumes.kubernetes.io/controller-managed-attach-detach": "true"]
        node["spec"] = [:]
        node["spec"]["taints"] = [["key": JSON(Self.notReadyTaint), "effect": "NoSchedule"]]
        node["status"] = status
        // That is for patches only.
        node["status"]["addresses"] = .array((status["addresses"].array ?? []).filter { $0["$patch"] == nil })
        return node
    }

    /// What pods may use: the machine's, and of resources that others told of in `status.capacity` all; those that are
    /// not there any more are taken back.
    private func allocatable(_ known: JSON?) -> JSONObject {
        var result = JSON(machine.allocatable).object ?? [:]
        for (name, amount) in ExtendedResources.of(known["capacity"]) { result[name] = amount }
        for name in ExtendedResources.of(known["allocatable"]).keys where result[name] == nil { result[name] = .null }
        return result
    }

    /// `known`: the node's status in the API, with resources that others have told of: a device plugin, a person.
    package func status(
        networkMessage: String?, previous: [JSON], images: [(names: [String], size: Int)], known: JSON? = nil,
        now: Timestamp
    ) -> JSON {
        let version = configuration.kubernetesVersion
        return [
            "capacity": JSON(machine.capacity), "allocatable": .object(allocatable(known)),
            // By its merge key, an address that somebody else wrote would join these.
            "addresses": [
                ["$patch": "replace"],
                ["type": "InternalIP", "address": JSON(configuration.nodeIP.description)],
                ["type": "Hostname", "address": JSON(configuration.nodeName)],
            ],
            "conditions": .array(
                NodeConditions.compute(networkMessage: networkMessage, previous: previous, now: now)),
            "daemonEndpoints": ["kubeletEndpoint": ["Port": JSON(configuration.port)]],
            "nodeInfo": [
                "machineID": JSON(machine.machineID), "systemUUID": JSON(machine.machineID),
                "bootID": JSON(machine.bootID), "kernelVersion": JSON(machine.kernelVersion),
                "osImage": JSON(machine.osImage), "containerRuntimeVersion": JSON(configuration.runtimeVersion),
                "kubeletVersion": JSON(version), "kubeProxyVersion": JSON(version), "operatingSystem": "linux",
                "architecture": JSON(machine.architecture),
            ],
            "images": .array(
                images.sorted { $0.size > $1.size }.prefix(50).map {
                    ["names": JSON($0.names), "sizeBytes": JSON($0.size)]
                }),
        ]
    }
}
