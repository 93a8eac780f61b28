// SPDX-License-Identifier: Apache-2.0

/// A container's id: 64 hexadecimal digits.
public typealias ContainerID = String

/// A directory or file of the node that the container sees.
public struct Mount: Sendable, Hashable {
    public enum Propagation: String, Sendable, Hashable {
        case `private` = "rprivate"
        case hostToContainer = "rslave"
        case bidirectional = "rshared"
    }

    /// A path in the node's own file system.
    public var source: String
    public var destination: String
    public var readOnly: Bool
    public var propagation: Propagation
    /// `bind` with `rbind` unless another type is named.
    public var type: String
    /// Options besides those that the other members stand for.
    public var options: [String]

    public init(
        source: String, destination: String, readOnly: Bool = false, propagation: Propagation = .private,
        type: String = "bind", options: [String] = []
    ) {
        self.source = source
        self.destination = destination
        self.readOnly = readOnly
        self.propagation = propagation
        self.type = type
        self.options = options
    }
}

/// A device of the node that the container may use.
public struct Device: Sendable, Hashable {
    public var hostPath: String
    public var containerPath: String
    /// Any of `r`, `w`, `m`.
    public var permissions: String

    public init(hostPath: String, containerPath: String, permissions: String = "rwm") {
        self.hostPath = hostPath
        self.containerPath = containerPath
        self.permissions = permissions
    }
}

public enum SeccompProfile: Sendable, Hashable {
    case runtimeDefault
    case unconfined
    /// A file of the node in the OCI runtime specification's JSON form.
    case localhost(path: String)
}

public struct ContainerSecurity: Sendable, Hashable {
    /// Wins over the image's user. Nil: the image's.
    public var runAsUser: Int?
    public var runAsGroup: Int?
    public var supplementalGroups: [Int]
    public var fsGroup: Int?
    /// Fails the creation when the user turns out to be 0.
    public var runAsNonRoot: Bool
    /// Names with or without `CAP_`, or `ALL`.
    public var addCapabilities: [String]
    public var dropCapabilities: [String]
    public var privileged: Bool
    public var readOnlyRootFilesystem: Bool
    public var noNewPrivileges: Bool
    public var seccomp: SeccompProfile
    /// `procMount: Unmasked`.
    public var unmaskedProc: Bool

    public init(
        runAsUser: Int? = nil, runAsGroup: Int? = nil, supplementalGroups: [Int] = [], fsGroup: Int? = nil,
        runAsNonRoot: Bool = false, addCapabilities: [String] = [], dropCapabilities: [String] = [],
        privileged: Bool = false, readOnlyRootFilesystem: Bool = false, noNewPrivileges: Bool = false,
        seccomp: SeccompProfile = .runtimeDefault, unmaskedProc: Bool = false
    ) {
        self.runAsUser = runAsUser
        self.runAsGroup = runAsGroup
        self.supplementalGroups = supplementalGroups
        self.fsGroup = fsGroup
        self.runAsNonRoot = runAsNonRoot
        self.addCapabilities = addCapabilities
        self.dropCapabilities = dropCapabilities
        self.privileged = privileged
        self.readOnlyRootFilesystem = readOnlyRootFilesystem
        self.noNewPrivileges = noNewPrivileges
        self.seccomp = seccomp
        self.unmaskedProc = unmaskedProc
    }
}

/// Limits in the kernel's terms; nil: none.
public struct ContainerResources: Sendable, Hashable {
    public var cpuShares: Int?
    /// Microseconds of CPU time a period.
    public var cpuQuota: Int?
    public var cpuPeriod: Int?
    public var memoryLimitBytes: Int?
    public var pidsLimit: Int?

    public init(
        cpuShares: Int? = nil, cpuQuota: Int? = nil, cpuPeriod: Int? = nil, memoryLimitBytes: Int? = nil,
        pidsLimit: Int? = nil
    ) {
        self.cpuShares = cpuShares
        self.cpuQuota = cpuQuota
        self.cpuPeriod = cpuPeriod
        self.memoryLimitBytes = memoryLimitBytes
        self.pidsLimit = pidsLimit
    }

    /// From thousandths of a CPU and bytes, by the kubelet's arithmetic. A request of 0 gives the least share.
    public static func kubernetes(
        cpuRequestMilli: Int?, cpuLimitMilli: Int?, memoryLimitBytes: Int?, pidsLimit: Int? = nil
    ) -> ContainerResources {
        let period = 100_000
        let request = cpuRequestMilli ?? cpuLimitMilli ?? 0
        let shares = min(max(request.multipliedReportingOverflow(by: 1024).partialValue / 1000, 2), 262_144)
        let quota = cpuLimitMilli.flatMap { limit -> Int? in
            guard limit > 0 else { return nil }
            let (product, overflow) = limit.multipliedReportingOverflow(by: period)
            return overflow ? nil : max(product / 1000, 1000)
        }
        return ContainerResources(
            cpuShares: shares, cpuQuota: quota, cpuPeriod: quota == nil ? nil : period,
            memoryLimitBytes: memoryLimitBytes, pidsLimit: pidsLimit)
    }
}

public struct ContainerSpec: Sendable {
    public var sandboxID: String
    /// The name within the pod.
    public var name: String
    public var attempt: Int
    public var image: LocalImage
    /// The pod's `command`; empty: the image's entrypoint (and its command, when `args` is empty too).
    public var command: [String]
    /// The pod's `args`.
    public var args: [String]
    /// Comes after the image's own; a later value of a name wins.
    public var environment: [(name: String, value: String)]
    /// Nil: the image's.
    public var workingDirectory: String?
    /// `/etc/hosts`, `/etc/resolv.conf` and volumes. A shorter destination is mounted first.
    public var mounts: [Mount]
    /// The file for the log in CRI's format. Nil: none is kept.
    public var logPath: String?
    public var stdin: Bool
    /// Standard input is closed when the first client that attached goes.
    public var stdinOnce: Bool
    public var tty: Bool
    public var security: ContainerSecurity
    public var resources: ContainerResources
    public var oomScoreAdjustment: Int
    public var devices: [Device]
    /// Where in the container the termination message is written. Nil: nowhere.
    public var terminationMessagePath: String?
    /// A running container of the same sandbox whose processes this one sees, as theirs. Nil: its own, or the pod's.
    public var processesOf: ContainerID?
    public var annotations: [String: String]
    public var labels: [String: String]

    public init(
        sandboxID: String, name: String, attempt: Int = 0, image: LocalImage, command: [String] = [],
        args: [String] = [], environment: [(name: String, value: String)] = [], workingDirectory: String? = nil,
        mounts: [Mount] = [], logPath: String? = nil, stdin: Bool = false, stdinOnce: Bool = false, tty: Bool = false,
        security: ContainerSecurity = ContainerSecurity(), resources: ContainerResources = ContainerResources(),
        oomScoreAdjustment: Int = 0, devices: [Device] = [], terminationMessagePath: String? = nil,
        annotations: [String: String] = [:], labels: [String: String] = [:]
    ) {
        self.sandboxID = sandboxID
        self.name = name
        self.attempt = attempt
        self.image = image
        self.command = command
        self.args = args
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.mounts = mounts
        self.logPath = logPath
        self.stdin = stdin
        self.stdinOnce = stdinOnce
        self.tty = tty
        self.security = security
        self.resources = resources
        self.oomScoreAdjustment = oomScoreAdjustment
        self.devices = devices
        self.terminationMessagePath = terminationMessagePath
        self.annotations = annotations
        self.labels = labels
    }
}
