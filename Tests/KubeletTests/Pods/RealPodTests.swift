// SPDX-License-Identifier: Apache-2.0

import APIServer
import ContainerRuntime
import Glibc
import HTTPServing
import KubeClient
import KubeObjects
import Kubelet
import Linux
import NIOCore
import NIOHTTP1
import PKI
import Storage
import Testing
import Values

/// Pods of real processes: crun, conmon, a network namespace with nothing but its loopback, logs, commands and ports
/// through the API server and the kubelet's own HTTPS server.
@Suite(
    "Real pods", .serialized,
    .enabled(
        if: geteuid() == 0 && NodeFiles.exists("/usr/bin/crun") && NodeFiles.exists("/usr/bin/conmon")
            && NodeFiles.exists("/bin/busybox") && NodeFiles.exists("/usr/lib/cni/loopback"),
        "needs root, crun, conmon, busybox and the plugin loopback")
) struct RealPodTests {
    /// What the test made on the machine, to be removed.
    struct Place: Sendable {
        let root = "/tmp/kubelet-real-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let cgroup = "/catbird-kubelet-tests-\(getpid())"

        func images() async throws -> ImageStore {
            let store = ImageStore(root: root + "/images")
            try await store.installBuiltins(
                [BuiltinImage(name: "catbird/test", layers: [.busybox])],
                from: BuiltinSources(catbird: "/bin/true", plugin: "/bin/true", busybox: "/bin/busybox"))
            return store
        }

        func runtime(_ images: ImageStore) throws -> Runtime {
            try NodeFiles.makeDirectory(root + "/cni")
            try NodeFiles.write(
                Array(#"{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"loopback"}]}"#.utf8),
                to: root + "/cni/10-test.conflist")
            return try Runtime(
                RuntimeConfiguration(
                    stateDirectory: root + "/run", persistentDirectory: root + "/lib", cniConfDir: root + "/cni",
                    cniBinDir: "/usr/lib/cni", cniCacheDir: root + "/cache", cgroupParent: cgroup, images: images))
        }

        func remove() async {
            try? Mounts.unmountAll(below: root)
            try? NodeFiles.removeTree(root)
            try? await CgroupLayout.detect().destroy(cgroup)
        }
    }

    static let port = 20000 + Int(getpid() % 10000)

    static func with(
        _ body: @escaping @Sendable (KubeClient, Place, Runtime, @escaping @Sendable () -> Kubelet) async throws -> Void
    )
        async throws
    {
        let place = Place()
        let authority = try CertificateAuthority.create(commonName: "test")
        let client = try authority.issue(commonName: "kube-apiserver-kubelet-client", organizations: ["system:masters"])
        let serving = try authority.issue(commonName: "lab", dnsNames: ["lab"], ipAddresses: [IPAddress(127, 0, 0, 1)])
        var configuration = APIServerConfiguration(tokenSigner: TokenSigner.create())
        configuration.clientCAPEM = authority.certificatePEM
        configuration.kubeletClientCertificatePEM = client.certificatePEM
        configuration.kubeletClientKeyPEM = client.privateKeyPEM
        configuration.kubeletPort = port
        configuration.route = { $0 }
        let server = APIServer(storage: MemoryBackend(), configuration: configuration)
        try await server.start()
        defer { server.stop() }
        try await server.bootstrap()
        let api = KubeClient(server.inProcessTransport(user: "admin", groups: ["system:masters"]))
        var account = KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default")
        account["automountServiceAccountToken"] = false
        try await api.create(.serviceAccounts, account)
        let images = try await place.images()
        let runtime = try place.runtime(images)
        let result: Result<Void, any Error>
        do {
            try await body(api, place, runtime) {
                var settings = KubeletConfiguration(nodeName: "lab", nodeIP: IPAddress(127, 0, 0, 1))
                settings.rootDirectory = place.root + "/kubelet"
                settings.podLogDirectory = place.root + "/pods"
                settings.containerLogDirectory = place.root + "/containers"
                settings.cgroupRoot = place.cgroup
                settings.servingCertificatePEM = serving.certificatePEM
                settings.servingKeyPEM = serving.privateKeyPEM
                settings.clientCAPEM = authority.certificatePEM
                settings.port = port
                return Kubelet(client: api, configuration: settings, runtime: runtime, images: images)
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        for sandbox in runtime.sandboxes() { try? await runtime.removeSandbox(sandbox.id) }
        await place.remove()
        try result.get()
    }

    static func pod(_ name: String, _ script: String, _ more: String = "", policy: String = "Always") -> KubeObject {
        KubeObject([
            "apiVersion": "v1", "kind": "Pod", "metadata": ["name": JSON(name), "namespace": "default"],
            "spec": [
                "nodeName": "lab", "restartPolicy": JSON(policy), "terminationGracePeriodSeconds": 5,
                "containers": [
                    [
                        "name": "c", "image": "catbird/test:v1", "command": ["sh", "-c", JSON(script)],
                        "env": [["name": "WHO", "value": "bird"]],
                        "volumeMounts": [["name": "v", "mountPath": "/v"]],
                        "resources": ["limits": ["memory": "64Mi", "cpu": "500m"]],
                    ]
                ],
                "volumes": [["name": "v", "emptyDir": ["medium": "Memory", "sizeLimit": "1Mi"]]],
            ],
        ])
    }

    /// The first line of a stream.
    static func line(of body: APIBody) async throws -> String {
        guard case .stream(let stream) = body else { return String(decoding: try await body.collect(), as: UTF8.self) }
        var bytes: [UInt8] = []
        for try await piece in stream {
            bytes += piece
            if bytes.contains(0x0A) { break }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func waitUntilEmpty(_ directory: String) async throws {
        let watcher = try Inotify()
        try watcher.add(directory)
        if NodeFiles.list(directory).isEmpty { return }
        for await _ in watcher.events where NodeFiles.list(directory).isEmpty { return }
    }

    @Test("a pod runs, is read, is entered, survives its kubelet, and leaves nothing")
    func wholeLife() async throws {
        try await Self.with { api, place, runtime, kubelet in
            let rig = Rig(client: api)
            var task = Task { try await kubelet().run() }
            try await rig.wait(.nodes, "lab", "ready") { isReady($0) }
            let begun = Timestamp.now
            try await api.create(
                .pods,
                Self.pod(
                    "web",
                    "echo hello $WHO from $(hostname); cat /etc/hosts > /v/hosts; trap 'exit 0' TERM; "
                        + "while true; do sleep 1 & wait $!; done"))
            let pod = try await rig.wait(pod: "web") { isReady($0) }
            print("created to Ready: \(Int(Timestamp.now.seconds(since: begun) * 1000)) ms")
            #expect(pod?["status"]["phase"].string == "Running")
            #expect(pod?["status"]["qosClass"].string == "Guaranteed")
            // Logs, through the API server and the kubelet.
            let logs = try await api.transport.send(
                APIRequest(
                    method: "GET", path: "/api/v1/namespaces/default/pods/web/log",
                    query: [("tailLines", "1"), ("follow", "true")]))
            let line = try await Self.line(of: logs.body)
            #expect(line == "hello bird from web\n")
            let id = try #require(runtime.containers().first { $0.state == .running }?.id)
            let hosts = try await runtime.execSync(id, command: ["cat", "/v/hosts"], timeoutSeconds: 5)
            #expect(String(decoding: hosts.output, as: UTF8.self).hasPrefix("# Kubernetes-managed hosts file."))
            // A pod's interface, which the plugins of this test do not make.
            let network = try #require(runtime.sandboxes().first?.netnsPath)
            try await Namespaces.enter(Namespaces.Target(net: .path(network))) {
                try NetlinkSocket().addVeth("eth0", peer: "peer")
            }
            try await Self.dashboards(api)
            // The kubelet goes and comes again; the container goes on.
            task.cancel()
            _ = try? await task.value
            let pid = runtime.container(id)?.pid
            task = Task { try await kubelet().run() }
            try await api.create(.pods, Self.pod("once", "echo out; exit 3", policy: "Never"))
            let once = try await rig.wait(pod: "once", "over") { $0?["status"]["phase"].string == "Failed" }
            #expect(once?["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].int == 3)
            #expect(runtime.container(id)?.pid == pid)
            #expect(runtime.container(id)?.state == .running)
            // Deleted: SIGTERM is obeyed, and everything goes.
            for name in ["web", "once"] { try await api.delete(.pods, name, in: "default") }
            for name in ["web", "once"] { try await rig.wait(pod: name, "gone") { $0 == nil } }
            #expect(runtime.containers().isEmpty)
            #expect(runtime.sandboxes().isEmpty)
            // A pod that was over is gone from the API before the kubelet has cleared up behind it.
            try await Self.waitUntilEmpty(place.root + "/pods")
            try await Self.waitUntilEmpty(place.root + "/kubelet/pods")
            task.cancel()
            _ = try? await task.value
        }
    }
    /// What the kubelet and compute-resources dashboards of kubernetes-mixin ask a kubelet for. Not there: go_goroutines,
    /// of another language; kubelet_pleg_relist_*, for nothing is listed again and again here; kubelet_node_config_error,
    /// which upstream has not had since 1.24; rest_client_*, which the API client counts.
    private static let series = [
        "metrics": [
            "kubelet_node_name", "kubelet_running_pods", "kubelet_running_containers", "volume_manager_total_volumes",
            "kubelet_runtime_operations_total", "kubelet_runtime_operations_errors_total",
            "kubelet_runtime_operations_duration_seconds_bucket", "kubelet_pod_start_duration_seconds_count",
            "kubelet_pod_start_duration_seconds_bucket", "kubelet_pod_worker_duration_seconds_count",
            "kubelet_pod_worker_duration_seconds_bucket", "storage_operation_duration_seconds_count",
            "storage_operation_duration_seconds_bucket", "storage_operation_errors_total",
            "kubelet_cgroup_manager_duration_seconds_count", "kubelet_cgroup_manager_duration_seconds_bucket",
            "process_resident_memory_bytes", "process_cpu_seconds_total",
        ],
        "metrics/cadvisor": [
            "container_cpu_usage_seconds_total", "container_cpu_cfs_periods_total",
            "container_cpu_cfs_throttled_periods_total", "container_cpu_cfs_throttled_seconds_total",
            "container_memory_working_set_bytes", "container_memory_rss", "container_memory_cache",
            "container_memory_swap", "container_memory_usage_bytes", "container_fs_reads_total",
            "container_fs_writes_total", "container_fs_reads_bytes_total", "container_fs_writes_bytes_total",
            "container_fs_usage_bytes", "container_fs_limit_bytes", "container_network_receive_bytes_total",
            "container_network_transmit_bytes_total", "container_network_receive_packets_total",
            "container_network_transmit_packets_total", "container_network_receive_packets_dropped_total",
            "container_network_transmit_packets_dropped_total", "container_spec_cpu_quota",
            "container_spec_cpu_period", "container_spec_memory_limit_bytes", "container_start_time_seconds",
            "machine_cpu_cores", "machine_memory_bytes",
        ],
        "metrics/resource": [
            "container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "pod_cpu_usage_seconds_total",
            "pod_memory_working_set_bytes", "node_cpu_usage_seconds_total", "node_memory_working_set_bytes",
        ],
    ]

    private static func dashboards(_ api: KubeClient) async throws {
        for (path, names) in series {
            let text = try await api.text("/api/v1/nodes/lab/proxy/\(path)")
            var values: [Substring: [Substring]] = [:]
            for line in text.split(separator: "\n") where !line.hasPrefix("#") {
                values[line.prefix { $0 != "{" && $0 != " " }, default: []].append(line)
            }
            for name in names { #expect(values[Substring(name)] != nil, "\(path) has no \(name)") }
            // What stands twice is refused by who scrapes.
            let keys = values.values.joined().map { $0.prefix(upTo: $0.lastIndex(of: " ") ?? $0.endIndex) }
            #expect(Set(keys).count == keys.count)
            guard path == "metrics/cadvisor" else { continue }
            func line(_ name: String, _ label: String) -> Substring? {
                values[Substring(name)]?.first { $0.contains(label) }
            }
            #expect(line("container_spec_cpu_quota", "container=\"c\"")?.hasSuffix(" 50000.0") == true)
            #expect(line("container_spec_memory_limit_bytes", "container=\"c\"")?.hasSuffix(" 67108864.0") == true)
            let received = values["container_network_receive_bytes_total"] ?? []
            #expect(received.contains { $0.contains("pod=\"web\"") && $0.contains("interface=\"eth0\"") })
        }
    }
}
