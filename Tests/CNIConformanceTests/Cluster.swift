// SPDX-License-Identifier: Apache-2.0

import APIServer
import Glibc
import KubeClient
import KubeObjects
import Linux
import PKI
import Storage
import Testing
import Values

/// A machine that is a node of a cluster without an agent: an API server, and a kubeconfig that leads to it.
final class Cluster: Sendable {
    let machine: Machine
    let client: KubeClient
    let kubeconfig: String
    private let relay: Relay
    private let task: Task<Void, any Error>

    init(pools: [(String, JSON)] = [("all", ["cidr": "10.244.0.0/16", "natOutgoing": true])]) async throws {
        machine = try Machine()
        let authority = try CertificateAuthority.create(commonName: "test-ca")
        let serving = try authority.issue(
            commonName: "kube-apiserver", dnsNames: ["localhost"], ipAddresses: [IPAddress(127, 0, 0, 1)])
        let server = APIServer(
            storage: MemoryBackend(),
            configuration: APIServerConfiguration(
                tokenSigner: .create(), clientCAPEM: authority.certificatePEM,
                certificatePEM: serving.certificatePEM, privateKeyPEM: serving.privateKeyPEM,
                bindHost: "127.0.0.1", bindPort: 0, compactionInterval: nil))
        client = KubeClient(server.inProcessTransport(user: "admin", groups: ["system:masters"]))
        try await server.bootstrap()
        let (ports, found) = AsyncStream<Int>.makeStream()
        task = Task { try await server.run { found.yield($0) } }
        var iterator = ports.makeAsyncIterator()
        let port = await iterator.next() ?? 0
        relay = try Relay(from: machine.namespace(Machine.node), to: UInt16(port))
        kubeconfig = "\(machine.folder)/kubeconfig"
        let admin = try authority.issue(commonName: "admin", organizations: ["system:masters"])
        func base64(_ text: String) -> JSON { JSON(Base64.text(Array(text.utf8))) }
        let config: JSON = [
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [
                [
                    "name": "test",
                    "cluster": [
                        "server": "https://127.0.0.1:\(relay.port)",
                        "certificate-authority-data": base64(authority.certificatePEM),
                    ],
                ]
            ],
            "users": [
                [
                    "name": "test",
                    "user": [
                        "client-certificate-data": base64(admin.certificatePEM),
                        "client-key-data": base64(admin.privateKeyPEM),
                    ],
                ]
            ],
            "contexts": [["name": "test", "context": ["cluster": "test", "user": "test"]]],
        ]
        try Files.replace(kubeconfig, with: config.serialized(), mode: 0o600)
        try await client.create(
            .serviceAccounts,
            KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default"))
        var node = KubeObject(.nodes, kind: "Node", name: "node-1")
        node["spec"] = ["podCIDR": "10.95.0.0/24", "podCIDRs": ["10.95.0.0/24", "fd00:95::/64"]]
        try await client.create(.nodes, node)
        for (name, spec) in pools { try await makePool(name, spec) }
    }

    /// The server's end of a connection whose client ended without a word lingers for seconds, which nobody waits for.
    func stop() {
        relay.stop()
        task.cancel()
    }

    func makePool(_ name: String, _ spec: JSON) async throws {
        var pool = KubeObject(.ipPools, kind: "IPPool", name: name)
        pool["spec"] = spec
        try await client.create(.ipPools, pool)
    }

    func makePod(_ name: String, generated: Bool = false, _ annotations: [String: String] = [:]) async throws -> String
    {
        var pod = KubeObject(.pods, kind: "Pod", name: generated ? "" : name, namespace: "default")
        if generated {
            pod["metadata"]["name"] = nil
            pod["metadata"]["generateName"] = JSON("\(name)-")
        }
        pod["spec"] = ["nodeName": "node-1", "containers": [["name": "main", "image": "busybox"]]]
        for (key, value) in annotations { pod["metadata"]["annotations"]["cni.projectcalico.org/\(key)"] = JSON(value) }
        let made = try await client.create(.pods, pod)
        try machine.makeNamespace(made.name)
        return made.name
    }

    /// The list that Calico ships, its placeholders filled in.
    func calico(_ version: String = "1.0.0", _ more: [(String, JSON)] = []) -> JSON {
        var plugin: JSON = [
            "type": "calico", "log_level": "info", "log_file_path": "/var/log/calico/cni/cni.log",
            "datastore_type": "kubernetes", "nodename": "node-1", "mtu": 1440, "ipam": ["type": "calico-ipam"],
            "policy": ["type": "k8s"], "kubernetes": ["kubeconfig": JSON(kubeconfig)],
            "agentSocket": JSON("\(machine.folder)/none.sock"), "path": JSON(machine.store),
        ]
        for (key, value) in more { plugin[key] = value }
        return [
            "name": "k8s-pod-network", "cniVersion": JSON(version),
            "plugins": [plugin, ["type": "portmap", "snat": true, "capabilities": ["portMappings": true]]],
        ]
    }

    /// One call of the list's first plugin for a pod.
    func call(
        _ command: String, _ pod: String, _ list: JSON? = nil, container: String? = nil, previous: JSON? = nil
    ) async throws -> Machine.Answer {
        let list = list ?? calico()
        var configuration = list["plugins"][0] ?? [:]
        configuration["name"] = list["name"]
        configuration["cniVersion"] = list["cniVersion"]
        return try await machine.call(
            command, configuration, container: container ?? "sandbox-\(pod)", netns: machine.path(pod),
            arguments: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=\(pod)", previous: previous)
    }

    var handles: [String] {
        get async throws { try await client.list(.ipamHandles).items.map(\.name).sorted() }
    }
}

/// Passes connections on from a namespace to a port of this process.
final class Relay: Sendable {
    let port: UInt16
    private let listener: Int32

    init(from namespace: NamespaceRef, to target: UInt16) throws {
        let (listener, port) = try Namespaces.inNamespaces(net: namespace) { try Self.listen() }
        self.listener = listener
        self.port = port
        Task {
            try await OwnThread.run(awaiting: {
                while true {
                    let connection = accept(listener, nil, nil)
                    guard connection >= 0 else { return }
                    guard let onward = Self.connected(to: target) else {
                        close(connection)
                        continue
                    }
                    Self.pump(connection, onward)
                }
            })
        }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }

    private static func listen() throws -> (Int32, UInt16) {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, length) == 0 && Glibc.listen(fd, 64) == 0 && getsockname(fd, $0, &length) == 0
            }
        }
        guard isBound else { throw Errno("bind") }
        return (fd, UInt16(bigEndian: address.sin_port))
    }

    private static func connected(to port: UInt16) -> Int32? {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = loopback(port)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result == 0 { return fd }
        close(fd)
        return nil
    }

    /// Both ways, each on a thread of its own, until both have ended.
    private static func pump(_ left: Int32, _ right: Int32) {
        Task {
            async let there: Void = OwnThread.run(awaiting: { copy(left, right) })
            async let back: Void = OwnThread.run(awaiting: { copy(right, left) })
            _ = try? await (there, back)
            close(left)
            close(right)
        }
    }

    private static func copy(_ source: Int32, _ target: Int32) {
        while let bytes = try? FileDescriptor.read(source, upTo: 65536), !bytes.isEmpty {
            guard (try? FileDescriptor.write(target, bytes)) != nil else { break }
        }
        shutdown(target, Int32(SHUT_WR))
    }
}
