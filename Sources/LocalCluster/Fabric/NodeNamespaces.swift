// SPDX-License-Identifier: Apache-2.0
import Glibc
public import Linux
public import Values

/// A node: network, mount and host-name namespaces that live without a process, a file system of its own, and a
/// subtree of control groups.
///
/// Inside, /usr and what belongs to it are the host's, read-only; /etc, /var, /run, /opt, /root, /home, /srv, /mnt and
/// /tmp are the node's own, on disk below `root`. Programs given in `binaries` are at /opt/catbird/bin.
public struct NodeNamespaces: Sendable {
    /// Where the programs of ``Configuration/binaries`` are, inside.
    public static let binaryFolder = "/opt/catbird/bin"

    /// A file or folder of the host that is to be seen inside.
    public struct Bind: Sendable, Hashable {
        public var source: String
        public var target: String
        public var readOnly: Bool

        public init(_ source: String, at target: String? = nil, readOnly: Bool = false) {
            self.source = source
            self.target = target ?? source
            self.readOnly = readOnly
        }
    }

    public struct Configuration: Sendable {
        public var profile: ProfileName
        /// The node's name, that is its host name too.
        public var name: String
        public var runDirectory: String
        public var stateDirectory: String
        public var binds: [Bind]
        /// Names of programs and where they are on the host.
        public var binaries: [String: String]
        /// Lines of /etc/hosts besides localhost's.
        public var hosts: [(address: IPAddress, names: [String])]
        public var resolvers: Resolvers

        public init(
            profile: ProfileName, name: String, runDirectory: String = "/run/catbird",
            stateDirectory: String = "/var/lib/catbird", binds: [Bind] = [], binaries: [String: String] = [:],
            hosts: [(address: IPAddress, names: [String])] = [],
            resolvers: Resolvers = Resolvers(nameservers: [])
        ) {
            self.profile = profile
            self.name = name
            self.runDirectory = runDirectory
            self.stateDirectory = stateDirectory
            self.binds = binds
            self.binaries = binaries
            self.hosts = hosts
            self.resolvers = resolvers
        }
    }

    public let configuration: Configuration

    public init(_ configuration: Configuration) { self.configuration = configuration }

    public var names: FabricNames {
        FabricNames(
            profile: configuration.profile, runDirectory: configuration.runDirectory,
            stateDirectory: configuration.stateDirectory)
    }

    /// The node's folder on disk, on the host; `root` is in it.
    public var stateFolder: String { "\(names.nodesStateFolder)/\(configuration.name)" }
    /// The node's file system, as the host sees it.
    public var root: String { "\(stateFolder)/root" }
    var runFolder: String { "\(names.nodesFolder)/\(configuration.name)" }
    /// Where a namespace is pinned, on the host.
    public func pin(_ kind: NamespaceKind) -> String { "\(runFolder)/ns/\(kind.rawValue)" }

    public var net: NamespaceRef { .path(pin(.net)) }
    /// For ``ProcessSpawner`` and ``Namespaces/enter(_:_:)``.
    public var target: Namespaces.Target {
        Namespaces.Target(net: net, mount: .path(pin(.mount)), uts: .path(pin(.uts)), pid: .path(pin(.pid)))
    }

    /// The root of the node's control groups; processes are in those below.
    public var cgroup: String { "\(names.cgroup)/\(configuration.name)" }
    /// Where the node's own processes are.
    public var processCgroup: String { "\(cgroup)/system" }
    /// Where its pods' groups are to be made.
    public var podCgroup: String { "\(cgroup)/kubepods" }

    private static let kinds: [NamespaceKind] = [.net, .mount, .uts]

    /// Whether it is there, whole.
    public var exists: Bool {
        (Self.kinds + [.pid]).allSatisfy { Namespaces.isPinned(pin($0)) } && ProcessRecord.running(at: initFile) != nil
    }

    /// Makes the node, or what is missing of it. Its files are kept from the time before. When it fails nothing stays
    /// but the files.
    public func create() async throws {
        let layout = try CgroupLayout.detect()
        for group in [cgroup, processCgroup, podCgroup] { try layout.create(group) }
        if exists { return }
        // A half of a node is of no use: processes in its namespaces would not see those made now.
        try await destroy(removeFiles: false)
        for group in [cgroup, processCgroup, podCgroup] { try layout.create(group) }
        do {
            try NodeFiles(self).write()
            let pins = Dictionary(uniqueKeysWithValues: Self.kinds.map { ($0, pin($0)) })
            try await OwnThread.run(awaiting: {
                try Files.makeDirectories("\(runFolder)/ns", mode: 0o700)
                try Namespaces.createPinned(pins) { try prepareInside() }
            })
            try await startInit()
        } catch {
            try? await destroy(removeFiles: false)
            throw error
        }
    }

    /// A process of the node: inside its namespaces and control groups, with a plain environment. What it is given
    /// besides is set on the result.
    public func spawner(_ path: String, _ arguments: [String] = []) -> ProcessSpawner {
        var spawner = ProcessSpawner(path, arguments, environment: Self.environment)
        spawner.namespaces = target
        spawner.cgroup = processCgroup
        spawner.directory = "/"
        return spawner
    }

    public static let environment = [
        "PATH": "\(binaryFolder):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root", "LANG": "C.UTF-8",
    ]
}
