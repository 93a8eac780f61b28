// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Values

/// What a node finds on its disk before anything is mounted: the folders, and an /etc of what is needed.
struct NodeFiles {
    let node: NodeNamespaces

    init(_ node: NodeNamespaces) { self.node = node }

    /// Read-only from the host, where it has them; links stay links.
    ///
    /// Those of /etc are hundreds of links: copies would be most of what a node's disk holds, and of the time that
    /// making and removing it takes.
    static let hostFolders = [
        "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc/alternatives", "etc/ssl/certs",
    ]

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

    /// What the host has of a file, link or folder that nodes get a copy of.
    fileprivate enum Original: Sendable {
        case folder
        case link(String)
        case file([UInt8])
    }

    /// Writes what is missing. A pod may have had the node's root in its hands, and put links there: so all is written
    /// with that root as one's own, where no link leads out.
    func write() throws {
        try Files.makeDirectories(node.root)
        var originals: [(path: String, original: Original)] = []
        for name in Self.copied { try collect("/etc/\(name)", depth: 0, into: &originals) }
        let name = node.configuration.name
        let texts = [
            ("hostname", "\(name)\n"), ("hosts", hosts), ("resolv.conf", node.configuration.resolvers.resolvConf),
            ("fstab", ""),
        ]
        let mountPoints = self.mountPoints
        try Files.withRoot(node.root) { [originals] in
            for folder in Self.folders {
                let path = "/\(folder.path)"
                try Self.makeRealDirectories(path)
                try check(chmod(path, folder.mode), "chmod", path)
            }
            for (path, isFolder) in mountPoints {
                try Self.makeRealDirectories(isFolder ? path : Files.directory(of: path))
                if isFolder { continue }
                if Files.kind(path) != .file { try Files.removeTree(path) }
                try Files.touch(path, mode: 0o755)
            }
            for (path, target) in [("/var/run", "/run"), ("/var/lock", "/run/lock")] where Files.kind(path) == nil {
                try Files.link(target, at: path)
            }
            for (path, original) in originals { try Self.put(original, at: path) }
            for (name, content) in texts {
                try Files.replace("/etc/\(name)", with: content.utf8, mode: 0o644, durable: false)
            }
            if !Files.exists("/etc/machine-id") {
                let bytes = (0..<16).map { _ in UInt8.random(in: 0 ... .max) }
                let text = Hex.text(bytes) + "\n"
                try Files.replace("/etc/machine-id", with: text.utf8, mode: 0o644, durable: false)
            }
        }
    }

    /// Where something of the host's is mounted: a folder, or else a file, that must be there and be no link, for mounting
    /// follows links.
    private var mountPoints: [(path: String, isFolder: Bool)] {
        let binds = node.allBinds.map { ($0.target, Files.kind($0.source, follow: true) == .directory) }
        let hosts = Self.hostFolders.filter { Files.kind("/\($0)") == .directory }.map { ("/\($0)", true) }
        return hosts + binds
    }

    private var hosts: String {
        var lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
        lines += node.configuration.hosts.map { "\($0.address) \($0.names.joined(separator: " "))" }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Files, folders and links of the host, those above first. What is unreadable or neither is left out, and so is what
    /// has a name that is no text.
    private func collect(_ source: String, depth: Int, into result: inout [(path: String, original: Original)]) throws {
        switch Files.kind(source) {
        case .symbolicLink: result.append((source, .link(try Files.target(ofLink: source))))
        case .directory where Self.hostFolders.contains(String(source.dropFirst())): return
        case .directory:
            // Private keys are no concern of a node's.
            guard depth < 8, !source.hasSuffix("/private") else { return }
            guard let entries = try? Files.list(source) else { return }
            result.append((source, .folder))
            for name in entries.compactMap(\.fileName.text) {
                try collect("\(source)/\(name)", depth: depth + 1, into: &result)
            }
        case .file:
            guard let bytes = try? Files.read(source) else { return }
            result.append((source, .file(bytes)))
        default:
            return
        }
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

private func check(_ result: Int32, _ call: String, _ path: String) throws {
    if result != 0 { throw Errno(call, path) }
}

extension NodeFiles {
    /// A file that is the same already is left alone.
    fileprivate static func put(_ original: Original, at path: String) throws {
        switch original {
        case .link(let target):
            if Files.kind(path) == .symbolicLink, try Files.target(ofLink: path) == target { return }
            try Files.removeTree(path)
            try Files.link(target, at: path)
        case .folder:
            try makeRealDirectories(path)
        case .file(let bytes):
            if Files.kind(path) == .file, (try? Files.read(path)) == bytes { return }
            if Files.kind(path) == .directory { try Files.removeTree(path) }
            try Files.replace(path, with: bytes, mode: 0o644, durable: false)
        }
    }

    /// Folders that are folders, not links to some: what else is there goes.
    fileprivate static func makeRealDirectories(_ path: String) throws {
        var current = ""
        for part in path.split(separator: "/") {
            current += "/\(part)"
            let kind = Files.kind(current)
            if kind == .directory { continue }
            if kind != nil { try Files.removeTree(current) }
            try Files.makeDirectories(current)
        }
    }
}
