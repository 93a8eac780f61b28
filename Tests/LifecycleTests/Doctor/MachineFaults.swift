// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeClient
import KubeObjects
import Linux
import LocalCluster
import PKI
import Testing
import Values

/// A fault of the machine or of the whole cluster.
struct MachineFault: Sendable {
    let name: String
    let object: String
    let trial: Trial
    let inject: @Sendable () async throws -> Void
    /// What the cure leaves to do.
    let takeBack: @Sendable () async throws -> Void

    init(
        _ name: String, _ object: String, _ trial: Trial = .cures, inject: @escaping @Sendable () async throws -> Void,
        takeBack: @escaping @Sendable () async throws -> Void = {}
    ) {
        self.name = name
        self.object = object
        self.trial = trial
        self.inject = inject
        self.takeBack = takeBack
    }
}

struct MachineFaults {
    let all: [MachineFault]

    init(_ cluster: TestCluster) { all = Self.cluster(cluster) + Self.machine(cluster) }

    private static func cluster(_ cluster: TestCluster) -> [MachineFault] {
        let second = "\(cluster.profile)-m02"
        return [
            MachineFault("A node is cordoned", "node \(second)") { try await cluster.kubectl("cordon", second) },
            MachineFault("A node is stopped", "node \(second)") {
                try await cluster.catbird("node", "stop", second)
            } takeBack: {
                try await cluster.kubectl("wait", "--for=condition=Ready", "node/\(second)", "--timeout=60s")
            },
            MachineFault("A node was deleted from the API", "node \(second)") {
                try await cluster.kubectl("delete", "node", second)
            } takeBack: {
                try await cluster.kubectl("wait", "--for=condition=Ready", "node/\(second)", "--timeout=60s")
            },
            MachineFault("The only pool is disabled", "node \(second)") {
                try await cluster.kubectl(
                    "patch", "ippools.crd.projectcalico.org", "default-ipv4-ippool", "--type=merge", "-p",
                    "{\"spec\":{\"disabled\":true}}")
            },
            MachineFault("DNS is scaled to zero", "deployment kube-system/coredns") {
                try await cluster.kubectl("scale", "deployment", "coredns", "-n", "kube-system", "--replicas=0")
                try await cluster.kubectl(
                    "wait", "-n", "kube-system", "--for=delete", "pod", "-l", "k8s-app=kube-dns", "--timeout=60s")
            } takeBack: {
                try await cluster.kubectl(
                    "rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s")
            },
            MachineFault("Names are not answered on a node", "dns 10.96.0.10", .prints("dport 53 drop")) {
                try await cluster.typed(
                    "catbird ssh -p \(cluster.profile) -n m02 -- 'nft add table ip other && nft add chain ip other out "
                        + "{ type filter hook output priority 0\\; } && nft add rule ip other out udp dport 53 drop'")
            } takeBack: {
                try await cluster.typed("catbird ssh -p \(cluster.profile) -n m02 -- nft delete table ip other")
            },
            MachineFault("calico-node was deleted", "daemonset kube-system/calico-node") {
                try await cluster.kubectl("delete", "daemonset", "calico-node", "-n", "kube-system")
            },
            MachineFault("The Service of DNS was deleted", "service kube-system/kube-dns") {
                try await cluster.kubectl("delete", "service", "kube-dns", "-n", "kube-system")
            },
            writes(cluster),
        ]
    }

    /// A controller that wakes itself.
    private static func writes(_ cluster: TestCluster) -> MachineFault {
        let loop = Loop()
        return MachineFault(
            "An object is written again and again", "configmap default/busy", .prints("resourceVersion")
        ) {
            let client = try ClusterAccess(running: ProfileName(cluster.profile)).client
            _ = try await client.create(
                .configMaps, KubeObject(.configMaps, kind: "ConfigMap", name: "busy", namespace: "default"))
            await loop.start {
                for count in 0... {
                    if Task.isCancelled { return }
                    _ = try? await client.patch(
                        .configMaps, "busy", in: "default", type: .merge, ["data": ["count": JSON("\(count)")]])
                }
            }
        } takeBack: {
            await loop.stop()
            try await cluster.kubectl("delete", "configmap", "busy")
        }
    }

    private static func machine(_ cluster: TestCluster) -> [MachineFault] {
        let pki = "/var/lib/catbird/\(cluster.profile)/pki"
        return [
            MachineFault("The kubeconfig leads elsewhere", "kubeconfig context \(cluster.profile)") {
                try await cluster.typed(
                    "kubectl config set-cluster \(cluster.profile) --server=https://127.0.0.1:1")
            },
            MachineFault("A node's process is suspended", "process node-\(cluster.profile)-m02") {
                kill(try cluster.process("node-\(cluster.profile)-m02"), SIGSTOP)
            },
            MachineFault("The control plane is suspended", "process controlplane") {
                kill(try cluster.process("controlplane"), SIGSTOP)
                let status = try await cluster.attempt(["status"])
                #expect(status.status == .exited(2))
                #expect(status.text.contains("apiserver: Paused"))
            },
            MachineFault("Another network has taken the cluster's range", "route to …") {
                let address = try await cluster.typed("catbird ip -p \(cluster.profile)")
                try await cluster.typed(
                    "ip link add vpn0 type veth peer name vpn1 && ip link set vpn0 up && ip route add "
                        + "\(address.prefix { $0 != "\n" })/32 dev vpn0"
                )
            } takeBack: {
                try await cluster.typed("ip link delete vpn0")
            },
            MachineFault("Supervisor, guard and control plane are dead", "process supervisor") {
                let pids = try ["guard", "supervisor", "controlplane"].map { try cluster.process($0) }
                // Suspended first: each would start the others again.
                for pid in pids { kill(pid, SIGSTOP) }
                for pid in pids { kill(pid, SIGKILL) }
            },
            MachineFault("The administrator's certificate has expired", "certificate \(pki)/admin.crt") {
                let authority = try CertificateAuthority(
                    certificatePEM: Files.text("\(pki)/ca.crt"), privateKeyPEM: Files.text("\(pki)/ca.key"))
                let expired = try authority.issue(
                    commonName: "catbird-admin", organizations: ["system:masters"], usages: [.client], validity: 0)
                try Files.replace("\(pki)/admin.key", with: Array(expired.privateKeyPEM.utf8), mode: 0o600)
                try Files.replace("\(pki)/admin.crt", with: Array(expired.certificatePEM.utf8), mode: 0o600)
            },
            MachineFault("A certificate is another authority's", "certificate \(pki)/admin.crt") {
                let other = try CertificateAuthority.create(commonName: "other")
                let issued = try other.issue(
                    commonName: "catbird-admin", organizations: ["system:masters"], usages: [.client])
                try Files.replace("\(pki)/admin.key", with: Array(issued.privateKeyPEM.utf8), mode: 0o600)
                try Files.replace("\(pki)/admin.crt", with: Array(issued.certificatePEM.utf8), mode: 0o600)
            },
            MachineFault("A certificate ends soon", "certificate \(pki)/admin.crt") {
                let authority = try CertificateAuthority(
                    certificatePEM: Files.text("\(pki)/ca.crt"), privateKeyPEM: Files.text("\(pki)/ca.key"))
                let short = try authority.issue(
                    commonName: "catbird-admin", organizations: ["system:masters"], usages: [.client], validity: 7)
                try Files.replace("\(pki)/admin.key", with: Array(short.privateKeyPEM.utf8), mode: 0o600)
                try Files.replace("\(pki)/admin.crt", with: Array(short.certificatePEM.utf8), mode: 0o600)
            },
        ]
    }
}

/// Work that goes on until it is stopped.
private actor Loop {
    private var task: Task<Void, Never>?

    func start(_ body: @escaping @Sendable () async -> Void) { task = Task { await body() } }

    func stop() async {
        task?.cancel()
        await task?.value
    }
}
