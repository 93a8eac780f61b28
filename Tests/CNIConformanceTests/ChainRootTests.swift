// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import Linux
import Testing
import Values

/// Lists of plugins: Debian's before and after this one, capability arguments, and Calico's own list.
@Suite(.serialized, .enabled(if: geteuid() == 0 && Files.exists("/usr/lib/cni/portmap"))) struct ChainRootTests {
    private let machine: Machine

    init() throws {
        machine = try Machine()
        for name in ["c1", "c2"] { try machine.makeNamespace(name) }
    }

    private func list(_ plugins: [JSON], _ version: String = "1.0.0") -> JSON {
        ["cniVersion": JSON(version), "name": "local", "plugins": .array(plugins)]
    }

    private func own(_ more: [(String, JSON)] = []) -> JSON {
        var plugin = machine.network(more: more)
        plugin["name"] = nil
        plugin["cniVersion"] = nil
        return plugin
    }

    @Test(arguments: ["0.3.1", "0.4.0", "1.0.0"]) func portmapLeadsToTheContainer(version: String) async throws {
        let list = list([own(), ["type": "portmap", "snat": true, "capabilities": ["portMappings": true]]], version)
        let runtime: JSON = ["portMappings": [["hostPort": 8081, "containerPort": 80, "protocol": "tcp"]]]
        let one = try await machine.chain("ADD", list, runtimeConfig: runtime)
        #expect(one.isSuccess, "\(one.text)")
        let page = "\(machine.folder)/www"
        try Files.makeDirectories(page)
        try Files.replace("\(page)/index.html", with: Array("from the container".utf8))
        var server = ProcessSpawner("/usr/bin/busybox", ["httpd", "-f", "-p", "80", "-h", page])
        server.namespaces.net = machine.namespace("c1")
        let process = try server.spawn()
        defer { try? process.signal(SIGKILL) }
        let read = try await machine.run(
            "/usr/bin/curl", ["-s", "--retry", "5", "--retry-connrefused", "-m", "10", "http://172.31.255.2:8081/"],
            in: "outside")
        #expect(read.text == "from the container", "\(read.errorText)")
        if version != "0.3.1" {
            // Debian's portmap (1.1.1) looks for rules of both families at CHECK, also where there is one address.
            let check = try await machine.chain("CHECK", self.list([own()], version), result: one.json)
            #expect(check.isSuccess, "\(check.text)")
        }
        #expect(try await machine.chain("DEL", list, result: one.json, runtimeConfig: runtime).isSuccess)
        #expect(try machine.leftovers().isEmpty)
    }

    @Test func bandwidthAndTuningAfterIt() async throws {
        let list = list([
            own(),
            ["type": "tuning", "mtu": 1300, "sysctl": ["net.ipv4.conf.eth0.arp_filter": "1"]],
            ["type": "bandwidth", "capabilities": ["bandwidth": true]],
        ])
        let rate: JSON = [
            "ingressRate": 8_000_000, "ingressBurst": 8_000_000, "egressRate": 8_000_000, "egressBurst": 8_000_000,
        ]
        let runtime: JSON = ["bandwidth": rate]
        let one = try await machine.chain("ADD", list, runtimeConfig: runtime)
        #expect(one.isSuccess, "\(one.text)")
        #expect(try machine.netlink("c1").requireLink("eth0").mtu == 1300)
        let setting = try Namespaces.inNamespaces(net: machine.namespace("c1")) {
            try Sysctl.read("net/ipv4/conf/eth0/arp_filter")
        }
        #expect(setting == "1")
        #expect(try await machine.ping("172.31.255.2", from: "c1"))
        let check = try await machine.chain("CHECK", list, result: one.json, runtimeConfig: runtime)
        #expect(check.isSuccess, "\(check.text)")
        #expect(try await machine.chain("DEL", list, result: one.json, runtimeConfig: runtime).isSuccess)
        #expect(try machine.leftovers().isEmpty)
    }

    /// What a plugin before this one made stays in the result, and CHECK does not take its addresses for this one's.
    @Test func aPluginBeforeIt() async throws {
        let bridge: JSON = [
            "type": "ptp",
            "ipam": [
                "type": "host-local", "dataDir": JSON("\(machine.folder)/host-local"),
                "subnet": "10.97.0.0/24",
            ],
        ]
        let network = list([bridge])
        let first = try await machine.chain("ADD", network)
        #expect(first.isSuccess, "\(first.text)")
        let second = try await machine.call("ADD", machine.network(), ifName: "net1", previous: first.json)
        #expect(second.isSuccess, "\(second.text)")
        #expect(second.json["ips"].array?.count == 2)
        let index = try #require(second.json["ips"][1]["interface"].int)
        #expect(second.json["interfaces"][index]["name"].string == "net1")
        #expect(first.json["interfaces"].array?.count == index - 1)
        let check = try await machine.call("CHECK", machine.network(), ifName: "net1", previous: second.json)
        #expect(check.isSuccess, "\(check.text)")
        // The first network keeps the default route.
        #expect(try await machine.ping(try #require(first.json["ips"][0]["gateway"].string), from: "c1"))
        #expect(try await machine.call("DEL", machine.network(), ifName: "net1").isSuccess)
        #expect(try await machine.chain("DEL", network).isSuccess)
        #expect(try machine.leftovers().isEmpty)
    }

    /// calico_cni_k8s_test: hwAddr valid; calico_cni_ipam_test: explicit IP twice.
    @Test func capabilityArguments() async throws {
        let list = list([own([("capabilities", ["ips": true, "mac": true])])])
        let runtime: JSON = ["ips": ["10.99.0.77/24"], "mac": "0a:58:0a:63:00:4d"]
        let one = try await machine.chain("ADD", list, runtimeConfig: runtime)
        #expect(one.address == "10.99.0.77", "\(one.text)")
        #expect(one.json["interfaces"][1]["mac"].string == "0a:58:0a:63:00:4d")
        #expect(try machine.netlink("c1").requireLink("eth0").mac == MACAddress("0a:58:0a:63:00:4d"))
        let again = try await machine.chain("ADD", list, runtimeConfig: runtime)
        #expect(again.json == one.json)
        let other = try await machine.chain("ADD", list, container: "c2", runtimeConfig: runtime)
        #expect(!other.isSuccess && other.message.contains("10.99.0.77"), "\(other.text)")
        #expect(machine.handles == ["local.c1"])
        let byArguments = try await machine.call(
            "ADD", machine.network(), container: "c2", arguments: "IgnoreUnknown=1;IP=10.99.0.78")
        #expect(byArguments.address == "10.99.0.78", "\(byArguments.text)")
    }

    @Test func dnsOfTheConfigurationIsPassedOn() async throws {
        let dns: JSON = ["nameservers": ["10.96.0.10"], "search": ["cluster.local"]]
        let one = try await machine.call("ADD", machine.network(more: [("dns", dns)]))
        #expect(one.json["dns"] == dns, "\(one.text)")
    }

    /// calico_cni_test: forwarding on.
    @Test func forwardingOnRequest() async throws {
        let allowed = machine.network(more: [("container_settings", ["allow_ip_forwarding": true])])
        for (container, network, value) in [("c1", machine.network(), "0"), ("c2", allowed, "1")] {
            #expect(try await machine.call("ADD", network, container: container).isSuccess)
            let setting = try Namespaces.inNamespaces(net: machine.namespace(container)) {
                try Sysctl.read("net/ipv4/ip_forward")
            }
            #expect(setting == value)
        }
    }
}
