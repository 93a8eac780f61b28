// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing
import Values

/// Network namespaces of a test's own, pinned in a folder that goes away with them.
final class Laboratory: Sendable {
    let folder: String

    init() throws {
        folder = "/tmp/catbird-net-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories(folder, mode: 0o700)
    }

    deinit {
        for entry in (try? Files.list(folder)) ?? [] where entry.name.hasPrefix("ns-") {
            try? Namespaces.unpin("\(folder)/\(entry.name)")
        }
        try? Files.removeTree(folder)
    }

    func path(_ name: String) -> String { "\(folder)/ns-\(name)" }
    func namespace(_ name: String) -> NamespaceRef { .path(path(name)) }

    func makeNamespace(_ name: String) throws {
        try Namespaces.createPinned([.net: path(name)]) {
            let netlink = try NetlinkSocket()
            try netlink.setUp("lo")
        }
    }

    /// A cable between two namespaces, with an address at each end.
    func cable(_ left: (String, String, String), _ right: (String, String, String)) throws {
        let host = try NetlinkSocket(in: namespace(left.0))
        try host.addVeth(
            left.1, LinkOptions(), peer: right.1, peerOptions: LinkOptions(namespace: namespace(right.0)))
        for (space, interface, _) in [left, right] {
            // A node's uplink has been up for long when pods come: nobody is made to wait for its duplicate detection.
            try Namespaces.inNamespaces(net: namespace(space)) {
                try Sysctl.write("net/ipv6/conf/\(interface)/accept_dad", "0")
            }
        }
        for (space, interface, address) in [left, right] {
            let netlink = try NetlinkSocket(in: namespace(space))
            let link = try netlink.requireLink(interface)
            try netlink.setLink(link.index, LinkOptions(up: true))
            try netlink.addAddress(InterfaceAddress(interface: link.index, address: try #require(CIDR(address))))
        }
    }

    func run(_ program: String, _ arguments: [String], in name: String? = nil) async throws -> ProcessOutput {
        var spawner = ProcessSpawner(program, arguments)
        if let name { spawner.namespaces.net = namespace(name) }
        return try await spawner.run()
    }

    /// Whether an address answers. Three packets in turn: the kernel drops what is sent on a link whose queue it has not
    /// set up yet, and under load that takes it a moment after the link is up.
    func ping(_ address: String, from name: String) async throws -> Bool {
        for _ in 0..<3 {
            let ping = try await run("/usr/bin/busybox", ["ping", "-c", "1", "-W", "1", address], in: name)
            if ping.status.isSuccess { return true }
        }
        return false
    }

    /// Waits until something holds, looking again whenever the namespace's links, addresses or routes change.
    func wait(in name: String, until condition: @escaping @Sendable () throws -> Bool) async throws {
        let monitor = try NetlinkMonitor([.links, .routes, .addresses, .neighbours], in: namespace(name))
        if try condition() { return }
        for await _ in monitor.events where try condition() { return }
    }

    /// The same, of what two namespaces hold together.
    func wait(in one: String, or other: String, until condition: @escaping @Sendable () throws -> Bool) async throws {
        let (changes, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let monitors = try [one, other].map {
            try NetlinkMonitor([.links, .routes, .addresses, .neighbours], in: namespace($0))
        }
        let tasks = monitors.map { monitor in
            Task { for await _ in monitor.events { continuation.yield() } }
        }
        defer { for task in tasks { task.cancel() } }
        if try condition() { return }
        for await _ in changes where try condition() { return }
    }

    func waitForFile(_ path: String) async throws {
        let inotify = try Inotify()
        try inotify.add(Files.directory(of: path))
        if Files.exists(path) { return }
        for await _ in inotify.events where Files.exists(path) { return }
    }

    func waitForNoFile(_ path: String) async throws {
        let inotify = try Inotify()
        try inotify.add(Files.directory(of: path))
        if !Files.exists(path) { return }
        for await _ in inotify.events where !Files.exists(path) { return }
    }
}

/// TCP in a namespace: a server that greets with its name, and a client that reads the greeting.
enum Greeting {
    static func serve(_ name: String, port: UInt16, in namespace: NamespaceRef) throws -> Int32 {
        let listener = try Namespaces.inNamespaces(net: namespace) {
            let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            var reuse: Int32 = 1
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, socklen_t(MemoryLayout<Int32>.size))
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard bound == 0, listen(fd, 16) == 0 else { throw Errno("bind") }
            return fd
        }
        Task {
            try await OwnThread.run(awaiting: {
                while true {
                    var peer = sockaddr_in()
                    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
                    let connection = withUnsafeMutablePointer(to: &peer) {
                        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { accept(listener, $0, &length) }
                    }
                    guard connection >= 0 else { return }
                    let from = IPAddress(v4: UInt32(bigEndian: peer.sin_addr.s_addr))
                    try? FileDescriptor.write(connection, Array("\(name) \(from)".utf8))
                    close(connection)
                }
            })
        }
        return listener
    }

    static func stop(_ listener: Int32) {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    /// What the server says: its name, and the address it saw. Throws `ECONNREFUSED` and the like.
    static func read(_ address: String, _ port: UInt16, from namespace: NamespaceRef) async throws -> String {
        try await Namespaces.enter(.init(net: namespace)) {
            let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(fd) }
            var patience = timeval(tv_sec: 15, tv_usec: 0)
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
            var target = sockaddr_in()
            target.sin_family = sa_family_t(AF_INET)
            target.sin_port = port.bigEndian
            target.sin_addr.s_addr = (IPAddress(address)?.v4Bits ?? 0).bigEndian
            let connected = withUnsafePointer(to: &target) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard connected == 0 else { throw Errno("connect", address) }
            return String(decoding: try FileDescriptor.read(fd, upTo: 100), as: UTF8.self)
        }
    }
}
