// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@testable import Manifests

/// Calico's calico.yaml over ours: what is taken over, and what is said not to be.
@Suite struct TakeoverTests {
    private static func pod(_ variables: [String: String]) -> JSON {
        let environment: [JSON] = variables.sorted { $0.key < $1.key }.map {
            ["name": JSON($0.key), "value": JSON($0.value)]
        }
        return [
            "containers": [
                ["name": "calico-node", "image": "docker.io/calico/node:v3.30.0", "env": .array(environment)]
            ]
        ]
    }

    private static func takeover(_ variables: [String: String], pools: [KubeObject]? = nil) throws -> Takeover {
        let addons = Addons(apiHost: "192.168.49.2", apiPort: 8443)
        let own = try addons.manifests().filter { $0.kind == "IPPool" }
        return Takeover(
            CalicoSettings(pod: pod(variables), configMaps: [:]), pools: pools ?? own, podCIDR: addons.podCIDR)
    }

    @Test func whatTheFileSetsByItselfIsNothingToTakeOver() throws {
        let takeover = try Self.takeover([
            "DATASTORE_TYPE": "kubernetes", "WAIT_FOR_DATASTORE": "true", "CLUSTER_TYPE": "k8s,bgp", "IP": "autodetect",
            "CALICO_NETWORKING_BACKEND": "bird", "CALICO_IPV4POOL_VXLAN": "Always", "CALICO_IPV4POOL_IPIP": "Never",
            "CALICO_IPV6POOL_VXLAN": "Never", "CNI_MTU": "0", "FELIX_VXLANMTU": "0", "FELIX_IPV6SUPPORT": "false",
            "FELIX_DEFAULTENDPOINTTOHOSTACTION": "ACCEPT", "FELIX_HEALTHENABLED": "true",
            "CNI_NETWORK_CONFIG": """
            {"name": "k8s-pod-network", "plugins": [{"type": "calico", "mtu": __CNI_MTU__,
            "ipam": {"type": "calico-ipam"}}, {"type": "portmap"}]}
            """,
        ])
        #expect(takeover.taken.isEmpty)
        #expect(takeover.left.isEmpty)
        #expect(takeover.environment.isEmpty)
        #expect(takeover.poolChange.isEmpty)
        #expect(takeover.newPool == nil)
    }

    @Test func encapsulationGoesToThePool() throws {
        let both = try Self.takeover(["CALICO_IPV4POOL_IPIP": "Always", "CALICO_IPV4POOL_VXLAN": "Never"])
        #expect(both.poolChange == ["ipipMode": "Always", "vxlanMode": "Never"])
        let one = try Self.takeover(["CALICO_IPV4POOL_IPIP": "CrossSubnet", "CALICO_IPV4POOL_NAT_OUTGOING": "false"])
        #expect(one.poolChange == ["ipipMode": "CrossSubnet", "vxlanMode": "Never", "natOutgoing": "false"])
        #expect(try Self.takeover(["CALICO_IPV4POOL_VXLAN": "Sometimes"]).left.count == 1)
    }

    @Test func aRangeIsNotTakenFromPodsThatHaveAddresses() throws {
        let takeover = try Self.takeover(["CALICO_IPV4POOL_CIDR": "192.168.0.0/16", "CALICO_IPV4POOL_BLOCK_SIZE": "24"])
        #expect(takeover.left.count == 2)
        #expect(takeover.left[0].contains("10.244.0.0/16") && takeover.left[0].contains("catbird ipam migrate"))
        #expect(try Self.takeover(["CALICO_IPV4POOL_CIDR": "10.244.0.0/16"]).left.isEmpty)
    }

    @Test func withoutAPoolOneIsMade() throws {
        let takeover = try Self.takeover(
            ["CALICO_IPV4POOL_CIDR": "192.168.0.0/16", "CALICO_IPV4POOL_VXLAN": "Always"], pools: [])
        let spec = try #require(takeover.newPool?["spec"])
        #expect(spec["cidr"].string == "192.168.0.0/16")
        #expect(spec["vxlanMode"].string == "Always")
        #expect(spec["ipipMode"].string == "Never")
    }

    @Test func poolsOfTheUsersAreNotTouched() throws {
        var pool = KubeObject(.ipPools, kind: "IPPool", name: "mine")
        pool["spec"] = ["cidr": "10.9.0.0/16"]
        let takeover = try Self.takeover(["CALICO_IPV4POOL_IPIP": "Always"], pools: [pool])
        #expect(takeover.poolChange.isEmpty)
        #expect(takeover.left.count == 1 && takeover.left[0].contains("mine 10.9.0.0/16"))
    }

    @Test func mtuAndDetectionGoToTheAgent() throws {
        let takeover = try Self.takeover([
            "FELIX_IPINIPMTU": "1400", "FELIX_VXLANMTU": "1390", "IP_AUTODETECTION_METHOD": "interface=eth.*",
            "IP6_AUTODETECTION_METHOD": "nonsense",
        ])
        #expect(takeover.environment == ["CNI_MTU": "1400", "IP_AUTODETECTION_METHOD": "interface=eth.*"])
        #expect(takeover.left.count == 2)
        #expect(try Self.takeover(["CNI_MTU": "40"]).left.count == 1)
    }

    @Test func whatIsNotKnownIsSaid() throws {
        let takeover = try Self.takeover([
            "DATASTORE_TYPE": "etcdv3", "FELIX_BPFENABLED": "true", "FELIX_TYPHAK8SSERVICENAME": "calico-typha",
            "MADE_UP": "1",
            "CNI_NETWORK_CONFIG": #"{"name": "other", "plugins": [{"type": "bridge"}]}"#,
        ])
        #expect(takeover.left.count == 5, "\(takeover.left)")
        #expect(takeover.environment.isEmpty)
    }

    @Test func theFileOverARunningClusterIsTakenOver() async throws {
        try await TestAPI.with { api in
            try await api.install()
            let kubectl = api.client("kubectl")
            try await withThrowingTaskGroup(of: Void.self) { group in
                let keeper = AgentKeeper(
                    client: api.client("catbird-keeper"), addons: api.addons, log: api.log.logger)
                group.addTask { await keeper.run() }
                var map = KubeObject(.configMaps, kind: "ConfigMap", name: "calico-config", namespace: "kube-system")
                map["data"] = ["veth_mtu": "1400"]
                try await kubectl.create(.configMaps, map)
                var pod = Self.pod(["CALICO_IPV4POOL_IPIP": "Always", "FELIX_BPFENABLED": "true"])
                var container = try #require(pod["containers"][0])
                container["env"] = .array(
                    (container["env"].array ?? []) + [
                        [
                            "name": "CNI_MTU",
                            "valueFrom": ["configMapKeyRef": ["name": "calico-config", "key": "veth_mtu"]],
                        ]
                    ])
                pod["containers"] = .array([container])
                var set = try await kubectl.get(.daemonSets, "calico-node", in: "kube-system")
                set["spec"]["template"]["spec"] = pod
                try await kubectl.update(.daemonSets, set)
                let events = Informer(api.client("test"), .events, namespace: "kube-system")
                group.addTask { await events.run() }
                for await batch in events.events()
                where batch.contains(where: { $0.object["reason"].string == "AgentPutBack" }) { break }
                group.cancelAll()
            }
            let set = try await kubectl.get(.daemonSets, "calico-node", in: "kube-system")
            let container = set["spec"]["template"]["spec"]["containers"][0]
            #expect(container["image"].string == "catbird/node:v1")
            let mtu = container["env"].array?.first { $0["name"].string == "CNI_MTU" }
            #expect(mtu["value"].string == "1400")
            #expect(set.annotations[AgentKeeper.annotation]?.contains("FELIX_BPFENABLED") == true)
            let pool = try await kubectl.get(.ipPools, "default-ipv4-ippool")
            #expect(pool["spec"]["ipipMode"].string == "Always")
            #expect(pool["spec"]["vxlanMode"].string == "Never")
            // What was taken over stays through the next start.
            try await api.install()
            let later = try await kubectl.get(.daemonSets, "calico-node", in: "kube-system")
            #expect(later["spec"]["template"] == set["spec"]["template"])
        }
    }
}
