// SPDX-License-Identifier: Apache-2.0

public import Values

/// A port of the node that leads to one of the pod: for the `portMappings` capability of CNI.
public struct PortMapping: Sendable, Hashable {
    public var hostPort: Int
    public var containerPort: Int
    /// `tcp`, `udp` or `sctp`.
    public var transport: String
    public var hostIP: String?

    public init(hostPort: Int, containerPort: Int, transport: String = "tcp", hostIP: String? = nil) {
        self.hostPort = hostPort
        self.containerPort = containerPort
        self.transport = transport
        self.hostIP = hostIP
    }
}

/// What a pod's containers share: namespaces and an address.
public struct SandboxSpec: Sendable, Hashable {
    /// Unique and chosen by the caller: lower-case hexadecimal digits, letters, `-`; it names directories and mounts.
    public var id: String
    public var podNamespace: String
    public var podName: String
    public var podUID: String
    public var attempt: Int
    public var hostname: String
    public var hostNetwork: Bool
    public var hostPID: Bool
    public var hostIPC: Bool
    public var shareProcessNamespace: Bool
    /// Namespaced sysctls, set in the sandbox's namespaces.
    public var sysctls: [String: String]
    public var portMappings: [PortMapping]
    /// The pod's cgroup, relative to the root of the hierarchies: `/catbird/lab/node/kubepods/pod<uid>`. Nil: the
    /// runtime makes one below its own.
    public var cgroupParent: String?
    /// Where the containers' logs go: `/var/log/pods/NS_NAME_UID`.
    public var logDirectory: String
    public var annotations: [String: String]
    public var labels: [String: String]
    /// Further values for the plugins' `capabilities`: `bandwidth`, `ipRanges`, ….
    public var networkCapabilities: JSON?

    public init(
        id: String, podNamespace: String, podName: String, podUID: String, attempt: Int = 0, hostname: String,
        hostNetwork: Bool = false, hostPID: Bool = false, hostIPC: Bool = false, shareProcessNamespace: Bool = false,
        sysctls: [String: String] = [:], portMappings: [PortMapping] = [], cgroupParent: String? = nil,
        logDirectory: String = "", annotations: [String: String] = [:], labels: [String: String] = [:],
        networkCapabilities: JSON? = nil
    ) {
        self.id = id
        self.podNamespace = podNamespace
        self.podName = podName
        self.podUID = podUID
        self.attempt = attempt
        self.hostname = hostname
        self.hostNetwork = hostNetwork
        self.hostPID = hostPID
        self.hostIPC = hostIPC
        self.shareProcessNamespace = shareProcessNamespace
        self.sysctls = sysctls
        self.portMappings = portMappings
        self.cgroupParent = cgroupParent
        self.logDirectory = logDirectory
        self.annotations = annotations
        self.labels = labels
        self.networkCapabilities = networkCapabilities
    }
}

/// A pod's sandbox as it is.
public struct Sandbox: Sendable, Hashable {
    public enum State: String, Sendable, Hashable {
        case ready
        /// Its namespaces are gone (the machine was started anew), its making never ended, or it is being removed:
        /// containers cannot be made in it any more, it only waits to be removed.
        case notReady
    }

    public var spec: SandboxSpec
    public var state: State
    public var createdAt: Timestamp
    /// The addresses that the plugins gave it; empty on the node's own network.
    public var ips: [IPAddress]
    /// Where its network namespace is pinned; nil on the node's own network.
    public var netnsPath: String?
    /// What the last plugin answered; null on the node's own network.
    public var cniResult: JSON

    public var id: String { spec.id }

    public init(
        spec: SandboxSpec, state: State, createdAt: Timestamp, ips: [IPAddress], netnsPath: String?, cniResult: JSON
    ) {
        self.spec = spec
        self.state = state
        self.createdAt = createdAt
        self.ips = ips
        self.netnsPath = netnsPath
        self.cniResult = cniResult
    }
}
