// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeClient
import KubeObjects
import Linux
import Testing
import Values

/// Pods of a cluster through Calico's own list of plugins and a kubeconfig, without an agent; named as Calico's
/// calico_cni_k8s_test and calico_cni_test have it.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct CalicoClusterRootTests {
    private func withCluster(
        pools: [(String, JSON)] = [("all", ["cidr": "10.244.0.0/16", "natOutgoing": true])],
        _ body: (Cluster) async throws -> Void
    ) async throws {
        let cluster = try await Cluster(pools: pools)
        defer { cluster.stop() }
        try await body(cluster)
    }

    /// Result interfaces, custom MTU, DEL idempotent.
    @Test(arguments: VerbRootTests.versions) func theShippedList(version: String) async throws {
        try await withCluster { cluster in
            let list = cluster.calico(version)
            for pod in ["one", "two"] { _ = try await cluster.makePod(pod) }
            let one = try await cluster.call("ADD", "one", list)
            let two = try await cluster.call("ADD", "two", list)
            #expect(one.isSuccess && one.address.hasPrefix("10.244."), "\(one.text)")
            #expect(try cluster.machine.netlink("one").requireLink("eth0").mtu == 1440)
            #expect(try await cluster.machine.ping(two.address, from: "one"))
            #expect(try await cluster.machine.ping(Machine.stranger, from: "one"))
            let pod = try await cluster.client.get(.pods, "one", in: "default")
            #expect(pod.annotations["cni.projectcalico.org/podIP"] == "\(one.address)/32")
            #expect(pod.annotations["cni.projectcalico.org/containerID"] == "sandbox-one")
            if version != "0.3.1" {
                let check = try await cluster.call("CHECK", "one", list, previous: one.json)
                #expect(check.isSuccess, "\(check.text)")
            }
            for _ in 0..<2 { #expect(try await cluster.call("DEL", "one", list).isSuccess) }
            #expect(try await cluster.handles == ["k8s-pod-network.sandbox-two"])
        }
    }

    /// Pool annotations of pod and namespace by name and by CIDR, the pod's first.
    @Test func poolAnnotations() async throws {
        let pools: [(String, JSON)] = [
            ("default", ["cidr": "10.244.0.0/16"]), ("special", ["cidr": "10.50.0.0/24", "assignmentMode": "Manual"]),
            ("space", ["cidr": "10.60.0.0/24", "assignmentMode": "Manual"]),
        ]
        try await withCluster(pools: pools) { cluster in
            for (name, choice, prefix) in [
                ("by-name", "[\"special\"]", "10.50.0."), ("by-cidr", "[\"10.50.0.0/24\"]", "10.50.0."),
                ("none", nil, "10.244."),
            ] {
                _ = try await cluster.makePod(name, choice.map { ["ipv4pools": $0] } ?? [:])
                let answer = try await cluster.call("ADD", name)
                #expect(answer.address.hasPrefix(prefix), "\(answer.text)")
            }
            try await cluster.client.patch(
                .namespaces, "default", type: .merge,
                ["metadata": ["annotations": ["cni.projectcalico.org/ipv4pools": "[\"space\"]"]]])
            _ = try await cluster.makePod("of-the-space")
            #expect(try await cluster.call("ADD", "of-the-space").address.hasPrefix("10.60.0."))
            _ = try await cluster.makePod("own-wish", ["ipv4pools": "[\"special\"]"])
            #expect(try await cluster.call("ADD", "own-wish").address.hasPrefix("10.50.0."))
            for (name, choice) in [("missing", "[\"nowhere\"]"), ("malformed", "nowhere")] {
                _ = try await cluster.makePod(name, ["ipv4pools": choice])
                let answer = try await cluster.call("ADD", name)
                #expect(!answer.isSuccess && answer.message.contains("nowhere"), "\(answer.text)")
                #expect(try await !cluster.handles.contains("k8s-pod-network.sandbox-\(name)"))
            }
        }
    }

    /// A full pool, and the second pool when the first is full.
    @Test func fullPools() async throws {
        let pools: [(String, JSON)] = [
            ("small", ["cidr": "10.50.0.0/31", "blockSize": 31]), ("large", ["cidr": "10.60.0.0/24"]),
        ]
        try await withCluster(pools: pools) { cluster in
            for name in ["a", "b"] {
                _ = try await cluster.makePod(name, ["ipv4pools": "[\"small\"]"])
                #expect(try await cluster.call("ADD", name).address.hasPrefix("10.50.0."))
            }
            _ = try await cluster.makePod("c", ["ipv4pools": "[\"small\"]"])
            let full = try await cluster.call("ADD", "c")
            #expect(!full.isSuccess && full.code == 11 && full.message.contains("small"), "\(full.text)")
            _ = try await cluster.makePod("d", ["ipv4pools": "[\"small\",\"large\"]"])
            #expect(try await cluster.call("ADD", "d").address.hasPrefix("10.60.0."))
        }
    }

    /// Floating IPs with their feature flag and without, GenerateName.
    @Test func floatingAddressesAndGeneratedNames() async throws {
        try await withCluster { cluster in
            let name = try await cluster.makePod("float", generated: true, ["floatingIPs": "[\"192.0.2.7\"]"])
            let refused = try await cluster.call("ADD", name)
            #expect(refused.code == 2 && refused.message.contains("feature_control.floating_ips"), "\(refused.text)")
            let list = cluster.calico("1.0.0", [("feature_control", ["floating_ips": true])])
            #expect(try await cluster.call("ADD", name, list).isSuccess)
        }
    }

    /// ipAddrsNoIpam with its feature flag and without: addresses that no pool may give, and nobody else has.
    @Test func addressesWithoutIPAM() async throws {
        try await withCluster { cluster in
            let wish = ["ipAddrsNoIpam": "[\"198.51.100.7\"]"]
            _ = try await cluster.makePod("own", wish)
            let refused = try await cluster.call("ADD", "own")
            #expect(refused.message.contains("feature_control.ip_addrs_no_ipam"), "\(refused.text)")
            let list = cluster.calico("1.0.0", [("feature_control", ["ip_addrs_no_ipam": true])])
            let added = try await cluster.call("ADD", "own", list)
            #expect(added.address == "198.51.100.7", "\(added.text)")
            #expect(try await cluster.handles.isEmpty)
            _ = try await cluster.makePod("usual")
            #expect(try await cluster.call("ADD", "usual", list).isSuccess)
            #expect(try await cluster.machine.ping("198.51.100.7", from: "usual"))
            let check = try await cluster.call("CHECK", "own", list, previous: added.json)
            #expect(check.isSuccess, "\(check.text)")
            let again = try await cluster.call("ADD", "own", list)
            #expect(again.address == "198.51.100.7", "\(again.text)")
            for (name, text, word) in [
                ("pooled", "[\"10.244.9.9\"]", "pool all"),
                ("twice", "[\"192.0.2.1\",\"192.0.2.2\"]", "list of addresses"),
                ("garbage", "192.0.2.1", "list of addresses"),
            ] {
                _ = try await cluster.makePod(name, ["ipAddrsNoIpam": text])
                let answer = try await cluster.call("ADD", name, list)
                #expect(!answer.isSuccess && answer.message.contains(word), "\(answer.text)")
            }
            for _ in 0..<2 { #expect(try await cluster.call("DEL", "own", list).isSuccess) }
            #expect(try await !cluster.machine.ping("198.51.100.7", from: "usual"))
        }
    }

    /// ADD and DEL with different container IDs; a rigged second ADD.
    @Test func aSecondSandboxOfThePod() async throws {
        try await withCluster { cluster in
            _ = try await cluster.makePod("web")
            let first = try await cluster.call("ADD", "web", container: "first")
            try Namespaces.unpin(cluster.machine.path("web"))
            try cluster.machine.makeNamespace("web")
            let second = try await cluster.call("ADD", "web", container: "second")
            #expect(first.isSuccess && second.isSuccess && first.address != second.address, "\(second.text)")
            #expect(try await cluster.call("DEL", "web", container: "first").isSuccess)
            let check = try await cluster.call("CHECK", "web", container: "second", previous: second.json)
            #expect(check.isSuccess, "\(check.text)")
            // An ADD that fails half-way gives back what it took, and no more.
            try cluster.machine.makeNamespace("taken")
            try cluster.machine.netlink("taken").addBridge("eth0")
            _ = try await cluster.makePod("other")
            try Namespaces.unpin(cluster.machine.path("other"))
            try Namespaces.pin(.path(cluster.machine.path("taken")), .net, at: cluster.machine.path("other"))
            let rigged = try await cluster.call("ADD", "other")
            #expect(!rigged.isSuccess && rigged.message.contains("eth0"), "\(rigged.text)")
            #expect(try await cluster.handles == ["k8s-pod-network.second"])
        }
    }

    /// Ready flag false and missing, on ADD and DEL: only new addresses wait.
    @Test func theReadyFlag() async throws {
        try await withCluster { cluster in
            _ = try await cluster.makePod("early")
            #expect(try await cluster.call("ADD", "early").isSuccess)
            var information = KubeObject(.clusterInformations, kind: "ClusterInformation", name: "default")
            information["spec"] = ["datastoreReady": false]
            try await cluster.client.create(.clusterInformations, information)
            _ = try await cluster.makePod("late")
            let locked = try await cluster.call("ADD", "late")
            #expect(locked.code == 11 && locked.message.contains("datastoreReady"), "\(locked.text)")
            #expect(try await cluster.call("DEL", "early").isSuccess)
            #expect(try await cluster.handles.isEmpty)
            try await cluster.client.patch(
                .clusterInformations, "default", type: .merge, ["spec": ["datastoreReady": true]])
            #expect(try await cluster.call("ADD", "late").isSuccess)
        }
    }

    @Test func aDELWhileTheAPIIsAwayIsMadeGoodLater() async throws {
        try await withCluster { cluster in
            for name in ["gone", "next"] { _ = try await cluster.makePod(name) }
            #expect(try await cluster.call("ADD", "gone").isSuccess)
            let text = try Files.text(cluster.kubeconfig)
            let (head, tail) = try #require(
                text.split(separator: "127.0.0.1:").count == 2
                    ? (text.split(separator: "127.0.0.1:")[0], text.split(separator: "127.0.0.1:")[1]) : nil)
            let port = tail.prefix { $0.isNumber }
            try Files.replace(cluster.kubeconfig, with: Array("\(head)127.0.0.1:1\(tail.dropFirst(port.count))".utf8))
            #expect(try await cluster.call("DEL", "gone").isSuccess)
            #expect(try cluster.machine.netlink("gone").link("eth0") == nil)
            let away = try await cluster.call("ADD", "next")
            #expect(!away.isSuccess, "\(away.text)")
            try Files.replace(cluster.kubeconfig, with: Array(text.utf8))
            #expect(try await cluster.call("ADD", "next").isSuccess)
            #expect(try await cluster.handles == ["k8s-pod-network.sandbox-next"])
        }
    }

    /// Host-local with the node's own networks, one CIDR and two.
    @Test(.enabled(if: Files.exists("/usr/lib/cni/host-local"))) func hostLocalWithThePodsNetworkOfTheNode()
        async throws
    {
        try await withCluster { cluster in
            let data = JSON("\(cluster.machine.folder)/host-local")
            for (name, ipam) in [
                ("one", ["type": "host-local", "subnet": "usePodCidr", "dataDir": data] as JSON),
                (
                    "two",
                    [
                        "type": "host-local", "dataDir": data,
                        "ranges": [[["subnet": "usePodCidr"]], [["subnet": "usePodCidrIPv6"]]],
                    ]
                ),
            ] {
                _ = try await cluster.makePod(name)
                let list = cluster.calico("1.0.0", [("ipam", ipam)])
                let answer = try await cluster.call("ADD", name, list)
                #expect(answer.address.hasPrefix("10.95.0."), "\(answer.text)")
                #expect(answer.json["ips"].array?.count == (name == "one" ? 1 : 2))
                #expect(try await cluster.call("DEL", name, list).isSuccess)
            }
        }
    }
}
