// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import NetworkModel

/// What a request is about: one interface of a container, and the pod that the container belongs to.
struct Sandbox: Sendable {
    let containerID: String
    let ifName: String
    let pod: String?
    let namespace: String?
    let uid: String?
    let network: String
    let handleID: String
    /// `IP` of `CNI_ARGS`.
    let requestedAddress: String?

    init(_ parameters: CNIParameters, network: String) {
        func argument(_ name: String) -> String? { parameters.arguments[name].flatMap { $0.isEmpty ? nil : $0 } }
        containerID = parameters.containerID
        ifName = parameters.ifName
        pod = argument("K8S_POD_NAME")
        namespace = argument("K8S_POD_NAMESPACE")
        uid = argument("K8S_POD_UID")
        self.network = network
        handleID = IPAMNames.handleID(
            network: network, containerID: parameters.containerID, interface: parameters.ifName)
        requestedAddress = argument("IP")
    }

    /// For messages.
    var subject: String {
        if let pod, let namespace { "pod \(namespace)/\(pod)" } else { "container \(containerID.prefix(12))" }
    }

    /// What the block records of the holder: enough to find its link by.
    var values: [String: String] {
        var values: [String: String] = [:]
        if let pod, let namespace {
            values["pod"] = pod
            values["namespace"] = namespace
        } else {
            values["containerID"] = containerID
        }
        if ifName != "eth0" { values["interface"] = ifName }
        // Calico's own network goes without saying, so that blocks read as Calico writes them.
        if network != NetworkAgentConfiguration.usualNetwork { values["network"] = network }
        return values
    }

    var link: PodLink {
        PodLink(
            hostInterface: Self.hostInterface(values) ?? IPAMNames.hostInterface(containerID: containerID),
            podInterface: ifName, handleID: handleID)
    }

    /// The link of a holder that only its block tells of.
    static func link(_ values: [String: String], handleID: String) -> PodLink? {
        hostInterface(values).map {
            PodLink(hostInterface: $0, podInterface: values["interface"] ?? "eth0", handleID: handleID)
        }
    }

    /// The host interface that belongs to an allocation; nil for one that is no sandbox's.
    static func hostInterface(_ values: [String: String]) -> String? {
        if let pod = values["pod"], let namespace = values["namespace"] {
            guard let interface = values["interface"] else {
                return IPAMNames.hostInterface(namespace: namespace, pod: pod)
            }
            return IPAMNames.hostInterface(owner: "\(namespace).\(pod)", further: interface)
        }
        guard let containerID = values["containerID"] else { return nil }
        guard let interface = values["interface"] else { return IPAMNames.hostInterface(containerID: containerID) }
        return IPAMNames.hostInterface(owner: containerID, further: interface)
    }
}
