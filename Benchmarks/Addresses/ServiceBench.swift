// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeClient
import KubeObjects
import Linux
import Synchronization
import Values

/// How long a changed endpoint takes to the kernel and to the first connection that it answers, with more and more Services:
/// a real agent over a real API server, both in this process.
enum ServiceBench {
    private static let counts = [5, 10, 1_000, 5_000]
    private static let rounds = 30
    private static let port: UInt16 = 8080

    static func run() async throws {
        let rig = try await Rig(nodes: 1, pool: "10.0.0.0/16")
        let backends = ["172.30.9.1", "172.30.9.2"]
        try addBackends(rig, backends)
        let listeners = try backends.map { try serve($0, in: rig.namespace("backend")) }
        defer { for listener in listeners { shutdown(listener, Int32(SHUT_RDWR)) } }
        var first: (kernel: Double, cpu: Double)?
        var made = 0
        let target = try await rig.server.client.create(.services, service("target"))
        let address = target["spec"]["clusterIP"].string ?? ""
        try await rig.server.client.create(.endpointSlices, slice("target", [backends[0]]))
        for count in counts {
            while made + 1 < count {
                try await rig.server.client.create(.services, service("s\(made)"))
                let others = (1...4).map { "10.\(50 + made / 60_000).\(made / 250 % 250).\(made % 250 + $0 % 2)" }
                try await rig.server.client.create(.endpointSlices, slice("s\(made)", Array(Set(others))))
                made += 1
            }
            let measured = Mutex(Figures())
            try await rig.withAgents {
                while (try? read(address, from: rig.namespace("n1"))) != backends[0] {
                    // The whole is being written: nobody tells the end of it but an answer.
                    try await Task.sleep(for: .milliseconds(20))
                }
                // What the agents still write of their start is no part of the first round, and nobody tells its end.
                try await Task.sleep(for: .seconds(1))
                for round in 1...rounds {
                    let wanted = backends[round % 2]
                    let monitor = try NFTablesMonitor(in: rig.namespace("n1"))
                    let start = ContinuousClock.now
                    let cpu = clock()
                    async let kernel: Double = {
                        for await _ in monitor.events { return (ContinuousClock.now - start) / .milliseconds(1) }
                        return 0
                    }()
                    try await rig.server.client.update(.endpointSlices, slice("target", [wanted]))
                    while (try? read(address, from: rig.namespace("n1"))) != wanted {}
                    let connection = (ContinuousClock.now - start) / .milliseconds(1)
                    let written = await kernel
                    measured.withLock { figures in
                        figures.connection.append(connection)
                        figures.kernel.append(written)
                        figures.cpu.append(Double(clock() - cpu) / Double(CLOCKS_PER_SEC) * 1000)
                    }
                }
                try await rig.server.client.update(.endpointSlices, slice("target", [backends[0]]))
            }
            let figures = measured.withLock { $0 }
            let kernel = Measure.quantile(figures.kernel, 0.5)
            let cpu = Measure.quantile(figures.cpu, 0.5)
            let base = first ?? (kernel, cpu)
            if count == 10 { first = base }
            print(
                "an endpoint with \(count) Services: to the kernel \(Measure.text(kernel, 1)) ms (p90 \(Measure.text(Measure.quantile(figures.kernel, 0.9), 1))), to the first connection \(Measure.text(Measure.quantile(figures.connection, 0.5), 1)) ms, CPU of agent and API server \(Measure.text(cpu, 1)) ms"
                    + (first == nil ? "" : " (\(Measure.text(kernel / base.kernel, 1)) times 10 Services)"))
        }
        let floor = try floor(in: rig.namespace("n1"))
        print("one element of a table of its own by libnftables, taken away and added: \(Measure.text(floor, 2)) ms")
    }

    private struct Figures: Sendable {
        var kernel: [Double] = []
        var connection: [Double] = []
        var cpu: [Double] = []
    }

    private static func service(_ name: String) -> KubeObject {
        var object = KubeObject(.services, kind: "Service", name: name, namespace: "default")
        object["spec"] = ["ports": [["port": 80, "targetPort": 8080, "protocol": "TCP"]]]
        return object
    }

    private static func slice(_ service: String, _ addresses: [String]) -> KubeObject {
        var object = KubeObject(
            .endpointSlices, kind: "EndpointSlice", name: "\(service)-x", namespace: "default",
            labels: ["kubernetes.io/service-name": service])
        object["addressType"] = "IPv4"
        object["ports"] = [["name": "", "port": JSON(Int(port)), "protocol": "TCP"]]
        object["endpoints"] = .array(
            addresses.map { ["addresses": [JSON($0)], "conditions": ["ready": true], "nodeName": "n1"] })
        return object
    }

    private static func addBackends(_ rig: Rig, _ addresses: [String]) throws {
        try rig.makeNamespace("backend")
        let fabric = try NetlinkSocket(in: rig.namespace("fabric"))
        let bridge = try fabric.requireLink("br0").index
        try fabric.addVeth(
            "vb", LinkOptions(), peer: "eth0", peerOptions: LinkOptions(namespace: rig.namespace("backend")))
        try fabric.setLink(try fabric.requireLink("vb").index, LinkOptions(master: bridge, up: true))
        let socket = try NetlinkSocket(in: rig.namespace("backend"))
        let link = try socket.requireLink("eth0").index
        try socket.setLink(link, LinkOptions(up: true))
        for address in addresses {
            if let cidr = CIDR("\(address)/16") {
                try socket.addAddress(InterfaceAddress(interface: link, address: cidr))
            }
        }
        // The node needs a way for addresses of Services to leave it, as any node has.
        let node = try NetlinkSocket(in: rig.namespace("n1"))
        if let everything = CIDR("0.0.0.0/0") { try node.addRoute(Route(to: everything, via: IPAddress(addresses[0]))) }
    }

    private static func socketAddress(_ text: String, _ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = (IPAddress(text)?.v4Bits ?? 0).bigEndian
        return address
    }

    /// Greets with its address.
    private static func serve(_ address: String, in namespace: NamespaceRef) throws -> Int32 {
        let listener = try Namespaces.inNamespaces(net: namespace) {
            let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var own = socketAddress(address, port)
            let bound = withUnsafePointer(to: &own) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard bound == 0, listen(fd, 64) == 0 else { throw Errno("bind", address) }
            return fd
        }
        Task {
            try await OwnThread.run(awaiting: {
                while true {
                    let connection = accept(listener, nil, nil)
                    guard connection >= 0 else { return }
                    _ = address.withCString { send(connection, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
                    close(connection)
                }
            })
        }
        return listener
    }

    private static func read(_ address: String, from namespace: NamespaceRef) throws -> String {
        try Namespaces.inNamespaces(net: namespace) {
            let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(fd) }
            var patience = timeval(tv_sec: 1, tv_usec: 0)
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
            var target = socketAddress(address, 80)
            let connected = withUnsafePointer(to: &target) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard connected == 0 else { throw Errno("connect", address) }
            var buffer = [UInt8](repeating: 0, count: 64)
            let count = recv(fd, &buffer, buffer.count, 0)
            return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        }
    }

    /// Milliseconds.
    private static func floor(in namespace: NamespaceRef) throws -> Double {
        var tables = try NFTables(in: namespace)
        try tables.run(
            "add table ip floor\nadd map ip floor m { type mark : ipv4_addr; }\nadd element ip floor m { 1 : 10.0.0.1 }\n"
        )
        let start = ContinuousClock.now
        for _ in 0..<20 {
            try tables.run("delete element ip floor m { 1 }\nadd element ip floor m { 1 : 10.0.0.1 }\n")
        }
        let time = (ContinuousClock.now - start) / .milliseconds(1) / 20
        try tables.deleteTable(family: "ip", name: "floor")
        return time
    }
}
