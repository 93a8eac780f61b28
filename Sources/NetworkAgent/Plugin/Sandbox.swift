// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import NetworkModel

/// What a request is about: a container, and the pod that it belongs to.
struct Sandbox: Sendable {
    let containerID: String
    let ifName: String
    let pod: String?
    let namespace: String?
    let uid: String?
    let handleID: String
    /// `IP` of `CNI_ARGS`.
    let requestedAddress: String?

    init(_ parameters: CNIParameters, _ networkName: String) {
        func argument(_ name: String) -> String? { parameters.arguments[name].flatMap { $0.isEmpty ? nil : $0 } }
        containerID = parameters.containerID
        ifName = parameters.ifName
        pod = argument("K8S_POD_NAME")
        namespace = argument("K8S_POD_NAMESPACE")
        uid = argument("K8S_POD_UID")
        handleID = IPAMNames.handleID(network: networkName, containerID: parameters.containerID)
        requestedAddress = argument("IP")
    }

    /// For messages.
    var subject: String {
        if let pod, let namespace { "pod \(namespace)/\(pod)" } else { "container \(containerID.prefix(12))" }
    }

    var link: PodLink {
        let interface =
            if let pod, let namespace { IPAMNames.hostInterface(namespace: namespace, pod: pod) } else {
                IPAMNames.hostInterface(containerID: containerID)
            }
        return PodLink(hostInterface: interface, podInterface: ifName, handleID: handleID)
    }

    /// The link of a holder that only its block tells of.
    static func link(_ values: [String: String], handleID: String) -> PodLink? {
        hostInterface(values).map { PodLink(hostInterface: $0, podInterface: "eth0", handleID: handleID) }
    }

    /// The host interface that belongs to an allocation; nil for one that is no pod's.
    static func hostInterface(_ values: [String: String]) -> String? {
        if let pod = values["pod"], let namespace = values["namespace"] {
            return IPAMNames.hostInterface(namespace: namespace, pod: pod)
        }
        return values["containerID"].map { IPAMNames.hostInterface(containerID: $0) }
    }
}
