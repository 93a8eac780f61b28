// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Values

/// What a node finds on its disk before anything is mounted: the folders, and an /etc of what is needed.
struct NodeFiles {
    let node: NodeNamespaces

    init(_ node: NodeNamespaces) { self.node = node }

    /// Read-only from the host, where it has them; links stay links.
    static let hostFolders = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"]

    private static let folders: [(path: String, mode: UInt32)] = [
        ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("mnt", 0o755), ("opt", 0o755), ("opt/cni/bin", 0o755),
        ("proc", 0o555), ("root", 0o700), ("run", 0o755), ("srv", 0o755), ("sys", 0o555), ("tmp", 0o1777),
        ("var", 0o755), ("var/cache", 0o755), ("var/lib", 0o755), ("var/log", 0o755), ("var/spool", 0o755),
        ("var/tmp", 0o1777), ("var/log/pods", 0o755), ("var/log/containers", 0o755), ("var/lib/kubelet", 0o700),
        ("etc/cni/net.d", 0o755), ("etc/kubernetes/manifests", 0o755), ("usr", 0o755),
    ]

    /// Copied as they are, those that exist: who users are, how libraries and certificates are found.
    private static let copied = [
        "passwd", "group", "nsswitch.conf", "ld.so.conf", "ld.so.conf.d", "ld.so.cache", "ssl", "ca-certificates",
        "pki", "alternatives", "localtime", "os-release", "protocols", "services", "debian_version", "profile",
        "bash.bashrc", "containers",
    ]

    func write() throws {
        try Files.makeDirectories(node.root)
        for folder in Self.folders {
            let path = "\(node.root)/\(folder.path)"
            try Files.makeDirectories(path)
            try check(chmod(path, folder.mode), "chmod", path)
        }
        for (path, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
            let link = "\(node.root)/\(path)"
            if Files.kind(link) == nil { try Files.link(target, at: link) }
        }
        for name in Self.copied { try copy("/etc/\(name)", to: "\(node.root)/etc/\(name)", depth: 0) }
        let name = node.configuration.name
        try text("hostname", "\(name)\n")
        try text("hosts", hosts)
        try text("resolv.conf", node.configuration.resolvers.resolvConf)
        try text("fstab", "")
        if !Files.exists("\(node.root)/etc/machine-id") {
            let bytes = (0..<16).map { _ in UInt8.random(in: 0 ... .max) }
            try text("machine-id", Hex.text(bytes) + "\n")
        }
    }

    private func check(_ result: Int32, _ call: String, _ path: String) throws {
        if result != 0 { throw Errno(call, path) }
    }

    private func text(_ name: String, _ content: String) throws {
        try Files.replace("\(node.root)/etc/\(name)", with: content.utf8, mode: 0o644, durable: false)
    }

    private var hosts: String {
        var lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
        lines += node.configuration.hosts.map { "\($0.address) \($0.names.joined(separator: " "))" }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Files, folders and links; a file that is the same already is left alone. What is unreadable or neither is left
    /// out.
    private func copy(_ source: String, to target: String, depth: Int) throws {
        switch Files.kind(source) {
        case .symbolicLink:
            let link = try Files.target(ofLink: source)
            if Files.kind(target) == .symbolicLink, try Files.target(ofLink: target) == link { return }
            try Files.removeTree(target)
            try Files.link(link, at: target)
        case .directory:
            // Private keys are no concern of a node's.
            guard depth < 8, !source.hasSuffix("/private") else { return }
            guard let entries = try? Files.list(source) else { return }
            try Files.makeDirectories(target)
            for entry in entries {
                try copy("\(source)/\(entry.name)", to: "\(target)/\(entry.name)", depth: depth + 1)
            }
        case .file:
            if isSame(source, target) { return }
            guard let bytes = try? Files.read(source) else { return }
            try Files.replace(target, with: bytes, mode: 0o644, durable: false)
        default:
            return
        }
    }

    private func isSame(_ source: String, _ target: String) -> Bool {
        var first = stat()
        var second = stat()
        guard lstat(source, &first) == 0, lstat(target, &second) == 0 else { return false }
        // A copy is made after its original was last changed.
        return first.st_size == second.st_size && second.st_mode & S_IFMT == S_IFREG
            && second.st_mtim.tv_sec > first.st_mtim.tv_sec
    }

    /// The folders of shared libraries that this process uses and that are not below /usr or /lib: those of a
    /// toolchain, when it was built to be debugged.
    static func ownLibraryFolders() -> [String] {
        guard let maps = try? Files.text("/proc/self/maps") else { return [] }
        var folders: Set<String> = []
        for line in maps.split(separator: "\n") {
            guard let start = line.firstIndex(of: "/") else { continue }
            let path = String(line[start...])
            guard path.contains(".so"), !path.hasSuffix("(deleted)") else { continue }
            if ["/usr/", "/lib", "/dev/", "/memfd"].contains(where: { path.hasPrefix($0) }) { continue }
            folders.insert(Files.directory(of: path))
        }
        return folders.sorted()
    }
}
