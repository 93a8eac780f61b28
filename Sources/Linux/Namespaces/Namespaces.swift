// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// Entering, making and pinning namespaces. Whatever changes a thread's namespaces happens on a thread of its own, that
/// ends with it.
public enum Namespaces {
    /// Which namespaces to enter; those left nil are the caller's.
    public struct Target: Sendable, Hashable {
        public var net: NamespaceRef?
        public var mount: NamespaceRef?
        public var uts: NamespaceRef?
        public var ipc: NamespaceRef?
        /// For processes that are started alone: a thread stays in its own.
        public var pid: NamespaceRef?

        public init(
            net: NamespaceRef? = nil, mount: NamespaceRef? = nil, uts: NamespaceRef? = nil, ipc: NamespaceRef? = nil,
            pid: NamespaceRef? = nil
        ) {
            self.net = net
            self.mount = mount
            self.uts = uts
            self.ipc = ipc
            self.pid = pid
        }

        /// The mount namespace last: paths mean something else after it.
        var ordered: [(NamespaceKind, NamespaceRef)] {
            [(.ipc, ipc), (.uts, uts), (.net, net), (.mount, mount)].compactMap { kind, ref in ref.map { (kind, $0) } }
        }

        /// Enters them with the calling thread, which must be one that ends soon.
        func enter() throws(Errno) {
            // All are opened before the first is entered: a pid or path is the caller's, not the target's.
            var fds: [(NamespaceKind, Int32, String)] = []
            defer { for (_, fd, _) in fds { close(fd) } }
            for (kind, ref) in ordered { fds.append((kind, try ref.open(kind).take(), "\(ref)")) }
            if mount != nil {
                // Threads share their root and directory; a thread that does cannot change its mount namespace.
                try check("unshare", "CLONE_FS") { catbird_unshare(0x200) }
            }
            for (kind, fd, name) in fds {
                try check("setns", "\(kind.rawValue) \(name)") { catbird_setns(fd, kind.flag) }
            }
        }
    }

    /// Runs `body` inside the given namespaces and blocks until it is done. Descriptors that `body` opens stay in
    /// them: a socket made here can be used from anywhere.
    public static func inNamespaces<T: Sendable>(
        net: NamespaceRef? = nil, mount: NamespaceRef? = nil, uts: NamespaceRef? = nil, ipc: NamespaceRef? = nil,
        _ body: @escaping @Sendable () throws -> T
    ) throws -> T {
        let target = Target(net: net, mount: mount, uts: uts, ipc: ipc)
        return try OwnThread.run {
            try target.enter()
            return try body()
        }
    }

    /// Moves the calling thread into a network namespace for good: for threads that serve that network alone.
    public static func moveThread(to net: NamespaceRef) throws(Errno) { try Target(net: net).enter() }

    /// The same as ``inNamespaces(net:mount:uts:ipc:_:)`` without blocking a thread of the pool.
    public static func enter<T: Sendable>(
        _ target: Target, _ body: @escaping @Sendable () throws -> T
    ) async throws -> T {
        try await OwnThread.run(awaiting: {
            try target.enter()
            return try body()
        })
    }

    /// Runs `body` in new namespaces that end with it, unless something in them keeps them.
    public static func inNew<T: Sendable>(
        _ kinds: Set<NamespaceKind>, _ body: @escaping @Sendable () throws -> T
    ) throws -> T {
        try OwnThread.run {
            try unshare(kinds)
            return try body()
        }
    }

    /// Gives the calling thread new namespaces. In a new mount namespace nothing propagates from or to the old one.
    static func unshare(_ kinds: Set<NamespaceKind>) throws(Errno) {
        let flags = kinds.reduce(Int32(0)) { $0 | $1.flag }
        let names = kinds.map(\.rawValue).sorted().joined(separator: ",")
        try check("unshare", names) { catbird_unshare(flags) }
        if kinds.contains(.mount) { try Mounts.setPropagation("/", .private, recursive: true) }
    }

    /// Makes new namespaces and pins each to a file by a bind mount, so that they live without a process. `setup` runs
    /// inside them before they are pinned. When anything fails nothing stays pinned.
    ///
    /// The files are made; what was pinned there before is let go.
    @discardableResult
    public static func createPinned<T: Sendable>(
        _ pins: [NamespaceKind: String], setup: @escaping @Sendable () throws -> T
    ) throws -> T {
        let holder = PinHolder()
        return try OwnThread.run {
            // A mount namespace can only be pinned from outside of it, and what set-up mounts may hide what is there.
            let outside = try FileDescriptor.open("/proc/thread-self/ns/mnt")
            try unshare(Set(pins.keys))
            defer { for fd in holder.fds.values { close(fd) } }
            for kind in pins.keys {
                holder.fds[kind] = try FileDescriptor.open("/proc/thread-self/ns/\(kind.rawValue)").take()
            }
            if let path = pins[.mount] {
                try makePinnable(holder, at: path, outside: .fd(outside.rawValue))
            }
            let value = try setup()
            let fds = holder.fds
            try inNamespaces(mount: .fd(outside.rawValue)) {
                do {
                    for (kind, path) in pins {
                        guard let fd = fds[kind] else { continue }
                        try pin(.fd(fd), kind, at: path)
                    }
                } catch {
                    for path in pins.values { try? unpin(path) }
                    throw error
                }
            }
            return value
        }
    }

    /// Makes and pins without set-up.
    public static func createPinned(_ pins: [NamespaceKind: String]) throws {
        try createPinned(pins) {}
    }

    /// Makes the calling thread's new mount namespace again until it can be pinned.
    ///
    /// The kernel lets a mount namespace be pinned in none but those with smaller numbers (`mnt_ns_loop` in
    /// fs/namespace.c, against loops), and since 6.13 each processor takes numbers from a store of its own: one that was
    /// made later, on another processor, may have a smaller number.
    private static func makePinnable(_ holder: PinHolder, at path: String, outside: NamespaceRef) throws {
        let before = ThreadProcessors.current()
        // A set-up that runs on one processor alone is slow, no more.
        defer { try? before?.apply() }
        var others = ThreadProcessors.ofProcess()?.single ?? []
        while let fd = holder.fds[.mount] {
            do {
                return try inNamespaces(mount: outside) {
                    try pin(.fd(fd), .mount, at: path)
                    try unpin(path)
                }
            } catch let error as Errno where error.code == EINVAL && !others.isEmpty {
                try others.removeFirst().apply()
                try unshare([.mount])
                holder.fds[.mount] = try FileDescriptor.open("/proc/thread-self/ns/mnt").take()
                close(fd)
            }
        }
    }

    /// Lives on one thread only: the one that `createPinned` starts.
    private final class PinHolder: @unchecked Sendable {
        var fds: [NamespaceKind: Int32] = [:]
    }

    /// Pins an existing namespace to a file.
    public static func pin(_ namespace: NamespaceRef, _ kind: NamespaceKind, at path: String) throws(Errno) {
        let fd = try namespace.open(kind)
        try unpin(path)
        try Files.makeDirectories(Files.directory(of: path))
        try Files.touch(path)
        do { try Mounts.bind("/proc/self/fd/\(fd.rawValue)", onto: path) } catch {
            unlink(path)
            throw error
        }
    }

    /// Lets a pinned namespace go: it ends with the last process or descriptor in it. Nothing pinned is no error.
    public static func unpin(_ path: String) throws(Errno) {
        while true {
            if umount2(path, Int32(MNT_DETACH)) == 0 { continue }
            switch errno {
            case EINVAL, ENOENT: break
            default: throw Errno("umount2", path)
            }
            break
        }
        if unlink(path) == 0 || errno == ENOENT { return }
        throw Errno("unlink", path)
    }

    /// Whether a namespace is pinned at `path`.
    public static func isPinned(_ path: String) -> Bool {
        catbird_filesystem_magic(path) == 0x6e73_6673
    }
}
