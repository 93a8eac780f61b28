// SPDX-License-Identifier: Apache-2.0
import ContainerRuntime
import Glibc
import Linux
import Values

extension NodeNamespaces {
    /// Runs in the new namespaces, on a thread that ends with it.
    func prepareInside() throws {
        try prepareNetwork()
        let name = configuration.name
        guard sethostname(name, name.utf8.count) == 0 else { throw Errno("sethostname", name) }
        try mountRoot()
        try Mounts.pivotRoot(into: root)
        // New groups of their own: what is mounted on the node reaches its pods, and nothing else.
        try Mounts.setPropagation("/", .shared, recursive: true)
    }

    private func prepareNetwork() throws {
        try NetlinkSocket().setUp("lo")
        try Sysctl.write("net.ipv4.ip_forward", "1")
        for scope in ["all", "default"] {
            try Sysctl.write("net.ipv4.conf.\(scope).rp_filter", "0")
            try Sysctl.write("net.ipv4.conf.\(scope).send_redirects", "0")
        }
        if Sysctl.exists("net.ipv6.conf.all.forwarding") { try Sysctl.write("net.ipv6.conf.all.forwarding", "1") }
    }

    private func mountRoot() throws {
        // A root must be a mount of its own.
        try Mounts.bind(root, onto: root)
        for name in NodeFiles.hostFolders { try mountHostFolder(name) }
        // /proc is mounted by the node's first process, whose process namespace it shows.
        try Mounts.sysfs(onto: "\(root)/sys")
        if Files.exists("/sys/fs/cgroup") {
            try Mounts.bind("/sys/fs/cgroup", onto: "\(root)/sys/fs/cgroup", recursive: true)
            try CgroupView.hide(below: root)
        }
        try Mounts.bind("/dev", onto: "\(root)/dev", recursive: true)
        for folder in ["pts", "shm", "mqueue"] { try makeDeviceFolder(folder) }
        try Mounts.devpts(onto: "\(root)/dev/pts")
        try Mounts.tmpfs(onto: "\(root)/dev/shm", mode: 0o1777)
        try Mounts.tmpfs(onto: "\(root)/run", mode: 0o755)
        for folder in ["/run/lock", "/run/netns", "/run/catbird"] { try Files.makeDirectories(root + folder) }
        for bind in allBinds { try mount(bind) }
    }

    /// The host's /dev has them already, as a rule; if not, they are made there and stay, as any service would leave
    /// them.
    private func makeDeviceFolder(_ name: String) throws {
        let path = "\(root)/dev/\(name)"
        if !Files.exists(path) { try Files.makeDirectories(path) }
    }

    private func mountHostFolder(_ name: String) throws {
        let source = "/\(name)"
        let target = "\(root)/\(name)"
        switch Files.kind(source) {
        case .symbolicLink:
            let link = try Files.target(ofLink: source)
            if Files.kind(target) == .symbolicLink, try Files.target(ofLink: target) == link { return }
            try Files.removeTree(target)
            try Files.link(link, at: target)
        case .directory:
            try Mounts.bind(source, onto: target, recursive: true)
            try Mounts.makeReadOnly(recursively: target)
        default:
            return
        }
    }

    /// What the caller asked for, the programs, and the libraries that this program itself was started with, if they
    /// are outside of /usr: the same program runs inside.
    var allBinds: [Bind] {
        let programs = configuration.binaries.sorted { $0.key < $1.key }
            .map { Bind($0.value, at: "\(Self.binaryFolder)/\($0.key)", readOnly: true) }
        let libraries = NodeFiles.ownLibraryFolders().map { Bind($0, readOnly: true) }
        return libraries + programs + configuration.binds
    }

    private func mount(_ bind: Bind) throws {
        let target = root + bind.target
        guard Files.kind(bind.source, follow: true) != nil else {
            throw Errno(code: ENOENT, call: "mount", detail: "\(bind.source) into node \(configuration.name)")
        }
        try Mounts.bind(bind.source, onto: target, recursive: !bind.readOnly, readOnly: bind.readOnly)
    }
}
