// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

/// Each field of Calico's kinds at and over its limits: a specification, and the field that is refused; nil for one
/// that is taken.
@Suite struct CalicoRulesTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let resource: String
        let name: String
        let spec: JSON
        let field: String?
        var testDescription: String { "\(resource) \(name) \(spec.text())" }

        init(_ resource: String, _ spec: JSON, _ field: String? = nil, name: String = "default") {
            self.resource = resource
            self.name = name
            self.spec = spec
            self.field = field
        }
    }

    private static let peer: JSON = ["peerIP": "192.0.2.1", "asNumber": 64512]
    private static func peer(_ more: JSON) -> JSON { MergePatch.apply(more, to: peer) }

    static let peers: [Row] = [
        Row("bgppeers", peer), Row("bgppeers", peer(["asNumber": 1])), Row("bgppeers", peer(["asNumber": "65000.1"])),
        Row("bgppeers", peer(["asNumber": "0.0"]), "spec.asNumber"),
        Row("bgppeers", peer(["asNumber": 4_294_967_295])),
        Row("bgppeers", peer(["asNumber": 4_294_967_296]), "spec.asNumber"),
        Row("bgppeers", peer(["asNumber": 0]), "spec.asNumber"),
        Row("bgppeers", ["peerIP": "192.0.2.1"], "spec.asNumber"),
        Row("bgppeers", peer(["peerIP": "frob"]), "spec.peerIP"),
        Row("bgppeers", peer(["peerIP": "192.0.2.1:65535"])),
        Row("bgppeers", peer(["peerIP": "192.0.2.1:65536"]), "spec.peerIP"),
        Row("bgppeers", peer(["peerIP": "192.0.2.1:0"]), "spec.peerIP"),
        Row("bgppeers", peer(["peerIP": "[fd00::1]:1790"])), Row("bgppeers", peer(["peerIP": "fd00::1"])),
        Row("bgppeers", peer(["node": "a", "nodeSelector": "all()"]), "spec.node"),
        Row("bgppeers", peer(["nodeSelector": "rack = 0"]), "spec.nodeSelector"),
        Row("bgppeers", peer(["nodeSelector": "global()"]), "spec.nodeSelector"),
        Row("bgppeers", peer(["peerSelector": "all()"]), "spec.peerIP"),
        Row("bgppeers", ["peerSelector": "rr == 'true'"]),
        Row("bgppeers", ["peerSelector": "rr == 'true'", "asNumber": 0]),
        Row("bgppeers", ["peerSelector": "all()", "asNumber": 1], "spec.asNumber"),
        Row("bgppeers", ["localWorkloadSelector": "all()", "asNumber": 1], "spec.localWorkloadSelector"),
        Row("bgppeers", [:], "spec.peerIP"), Row("bgppeers", peer(["maxRestartTime": "4095s", "keepaliveTime": "1m"])),
        Row("bgppeers", peer(["maxRestartTime": "4096s"]), "spec.maxRestartTime"),
        Row("bgppeers", peer(["maxRestartTime": "frob"]), "spec.maxRestartTime"),
        Row("bgppeers", peer(["keepaliveTime": "0s"]), "spec.keepaliveTime"),
        Row("bgppeers", peer(["ttlSecurity": 255])), Row("bgppeers", peer(["ttlSecurity": 256]), "spec.ttlSecurity"),
        Row("bgppeers", peer(["numAllowedLocalASNumbers": -1]), "spec.numAllowedLocalASNumbers"),
        Row("bgppeers", peer(["reachableBy": "192.0.2.9"])),
        Row("bgppeers", peer(["reachableBy": "x"]), "spec.reachableBy"),
        Row("bgppeers", ["peerSelector": "all()", "reachableBy": "192.0.2.9"], "spec.reachableBy"),
        Row("bgppeers", peer(["keepOriginalNextHop": true])),
        Row("bgppeers", peer(["keepOriginalNextHop": true, "nextHopMode": "Self"]), "spec.keepOriginalNextHop"),
        Row("bgppeers", peer(["reversePeering": "Never"]), "spec.reversePeering"),
        Row("bgppeers", peer(["password": ["secretKeyRef": ["key": "k"]]]), "spec.password.secretKeyRef.name"),
        Row("bgppeers", peer(["password": ["secretKeyRef": ["name": "s", "key": "k"]]])),
    ]

    static let bgp: [Row] = [
        Row("bgpconfigurations", [:]), Row("bgpconfigurations", ["asNumber": 64512, "nodeToNodeMeshEnabled": true]),
        Row("bgpconfigurations", ["asNumber": 0], "spec.asNumber"),
        Row("bgpconfigurations", [:], "metadata.name", name: "other"),
        Row("bgpconfigurations", ["logSeverityScreen": "Debug"], name: "node.a"),
        Row("bgpconfigurations", ["asNumber": 1], "spec.asNumber", name: "node.a"),
        Row("bgpconfigurations", ["nodeToNodeMeshEnabled": false], "spec.nodeToNodeMeshEnabled", name: "node.a"),
        Row(
            "bgpconfigurations", ["nodeToNodeMeshEnabled": false, "nodeMeshMaxRestartTime": "10s"],
            "spec.nodeMeshMaxRestartTime"),
        Row("bgpconfigurations", ["nodeMeshMaxRestartTime": "1h8m15s"]),
        Row("bgpconfigurations", ["nodeMeshMaxRestartTime": "2h"], "spec.nodeMeshMaxRestartTime"),
        Row("bgpconfigurations", ["localWorkloadPeeringIPV4": "fd00::1"], "spec.localWorkloadPeeringIPV4"),
        Row("bgpconfigurations", ["ignoredInterfaces": ["docker*", "eth0"]]),
        Row("bgpconfigurations", ["ignoredInterfaces": ["a b"]], "spec.ignoredInterfaces[0]"),
        Row("bgpconfigurations", ["prefixAdvertisements": [["cidr": "10.0.0.0/24", "communities": ["65000:1"]]]]),
        Row(
            "bgpconfigurations",
            [
                "communities": [["name": "a", "value": "65000:1:2"]],
                "prefixAdvertisements": [["cidr": "10.0.0.0/24", "communities": ["a"]]],
            ]),
        Row(
            "bgpconfigurations", ["prefixAdvertisements": [["cidr": "10.0.0.0/24", "communities": ["a"]]]],
            "spec.prefixAdvertisements[0].communities[0]"),
        Row(
            "bgpconfigurations",
            [
                "communities": [["name": "a", "value": "65536:1"]],
                "prefixAdvertisements": [["cidr": "10.0.0.0/24", "communities": ["a"]]],
            ], "spec.communities[0].value"),
        Row("bgpconfigurations", ["communities": [["value": "1:1"]]], "spec.communities[0].name"),
        Row("bgpconfigurations", ["communities": [["name": "a", "value": "1:1"]]], "spec.prefixAdvertisements"),
        Row(
            "bgpconfigurations",
            [
                "communities": [["name": "a", "value": "1:1"], ["name": "a", "value": "1:2"]],
                "prefixAdvertisements": [["cidr": "10.0.0.0/24", "communities": ["a"]]],
            ], "spec.communities[1].name"),
        Row(
            "bgpfilters", ["exportV4": [["action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In"]]]),
        Row(
            "bgpfilters", ["exportV4": [["action": "Accept", "cidr": "fd00::/64", "matchOperator": "In"]]],
            "spec.exportV4[0].cidr"),
        Row(
            "bgpfilters", ["importV6": [["action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In"]]],
            "spec.importV6[0].cidr"),
        Row(
            "bgpfilters", ["exportV4": [["action": "Accept", "cidr": "10.0.0.0/8"]]], "spec.exportV4[0].matchOperator"),
        Row("bgpfilters", ["exportV4": [["action": "Reject", "matchOperator": "In"]]], "spec.exportV4[0].cidr"),
        Row("bgpfilters", ["exportV4": [["cidr": "10.0.0.0/8", "matchOperator": "In"]]], "spec.exportV4[0].action"),
        Row(
            "bgpfilters",
            [
                "importV4": [
                    ["action": "Reject"],
                    [
                        "action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In",
                        "prefixLength": ["min": 24, "max": 16],
                    ],
                ]
            ], "spec.importV4[1].prefixLength"),
        Row(
            "bgpfilters", ["importV4": [["action": "Accept", "prefixLength": ["min": 24]]]],
            "spec.importV4[0].prefixLength"),
        Row("bgpfilters", ["importV4": [["action": "Accept", "priority": 0]]], "spec.importV4[0].priority"),
        Row(
            "bgpfilters", ["importV4": [["action": "Reject", "operations": [["setPriority": ["value": 5]]]]]],
            "spec.importV4[0].operations"),
        Row("bgpfilters", ["importV4": [["action": "Accept", "operations": [["setPriority": ["value": 5]]]]]]),
        Row("bgpfilters", ["importV4": [["action": "Accept", "interface": "a b"]]], "spec.importV4[0].interface"),
        Row("bgpfilters", ["importV4": [["action": "Accept", "asPathPrefix": [0]]]], "spec.importV4[0].asPathPrefix"),
    ]

    static let felix: [Row] = [
        Row("felixconfigurations", [:]), Row("felixconfigurations", [:], name: "node.a"),
        Row("felixconfigurations", [:], "metadata.name", name: "mine"),
        Row("felixconfigurations", ["vxlanPort": 65535, "vxlanVNI": 16_777_215, "vxlanMTU": 0]),
        Row("felixconfigurations", ["vxlanPort": 65536], "spec.vxlanPort"),
        Row("felixconfigurations", ["healthPort": -1], "spec.healthPort"),
        Row("felixconfigurations", ["vxlanVNI": 16_777_216], "spec.vxlanVNI"),
        Row("felixconfigurations", ["vxlanMTU": -5], "spec.vxlanMTU"),
        Row("felixconfigurations", ["wireguardMTUV6": 65536], "spec.wireguardMTUV6"),
        Row("felixconfigurations", ["mtuIfacePattern": "^((en|wl)"], "spec.mtuIfacePattern"),
        Row("felixconfigurations", ["mtuIfacePattern": "eth.*|ens[0-9]+"]),
        Row("felixconfigurations", ["interfacePrefix": "cali,tap"]),
        Row("felixconfigurations", ["interfacePrefix": "cali,,tap"], "spec.interfacePrefix"),
        Row("felixconfigurations", ["interfacePrefix": "sixteen-letters-"], "spec.interfacePrefix"),
        Row("felixconfigurations", ["natPortRange": "32768:65535"]), Row("felixconfigurations", ["natPortRange": 5000]),
        Row("felixconfigurations", ["natPortRange": "9:1"], "spec.natPortRange"),
        Row("felixconfigurations", ["natPortRange": "1:65536"], "spec.natPortRange"),
        Row("felixconfigurations", ["natOutgoingAddress": "frob"], "spec.natOutgoingAddress"),
        Row("felixconfigurations", ["natOutgoingAddress": "fd00::1"], "spec.natOutgoingAddress"),
        Row("felixconfigurations", ["natOutgoingAddress": "192.0.2.1"]),
        Row("felixconfigurations", ["deviceRouteSourceAddress": "x"], "spec.deviceRouteSourceAddress"),
        Row("felixconfigurations", ["deviceRouteSourceAddressIPv6": "1.2.3.4"], "spec.deviceRouteSourceAddressIPv6"),
        Row("felixconfigurations", ["routeTableRange": ["min": 1, "max": 250]]),
        Row("felixconfigurations", ["routeTableRange": ["min": 1, "max": 251]], "spec.routeTableRange"),
        Row("felixconfigurations", ["routeTableRange": ["min": 300, "max": 1]], "spec.routeTableRange"),
        Row("felixconfigurations", ["routeTableRanges": [["min": 0, "max": 1]]], "spec.routeTableRanges[0]"),
        Row(
            "felixconfigurations", ["routeTableRange": ["min": 1, "max": 2], "routeTableRanges": []],
            "spec.routeTableRange"),
        Row("felixconfigurations", ["deviceRouteProtocol": 256], "spec.deviceRouteProtocol"),
        Row("felixconfigurations", ["ipv4NormalRoutePriority": 0], "spec.ipv4NormalRoutePriority"),
        Row("felixconfigurations", ["nodeSelector": "a ="], "spec.nodeSelector"),
        Row("felixconfigurations", ["externalNodesList": ["10.0.0.0/8", "x"]], "spec.externalNodesList[1]"),
        Row(
            "felixconfigurations", ["failsafeInboundHostPorts": [["port": 22, "protocol": "tcp", "net": "10.0.0.0/8"]]]),
        Row(
            "felixconfigurations", ["failsafeInboundHostPorts": [["port": 70000]]],
            "spec.failsafeInboundHostPorts[0].port"),
        Row(
            "felixconfigurations", ["failsafeOutboundHostPorts": [["port": 1, "protocol": "gre"]]],
            "spec.failsafeOutboundHostPorts[0].protocol"),
        Row("felixconfigurations", ["kubeNodePortRanges": ["30000:32767", "b"]], "spec.kubeNodePortRanges[1]"),
        Row("felixconfigurations", ["nftablesRefreshInterval": "1m30s"]),
        Row("felixconfigurations", ["nftablesRefreshInterval": "90"], "spec.nftablesRefreshInterval"),
        Row(
            "felixconfigurations", ["healthTimeoutOverrides": [["name": "a", "timeout": "1.2.3s"]]],
            "spec.healthTimeoutOverrides[0].timeout"),
        Row("clusterinformations", [:]), Row("clusterinformations", [:], "metadata.name", name: "other"),
        Row("kubecontrollersconfigurations", ["controllers": ["node": ["leakGracePeriod": "15m"]]]),
        Row(
            "kubecontrollersconfigurations", ["controllers": ["node": ["leakGracePeriod": "soon"]]],
            "spec.controllers.node.leakGracePeriod"),
        Row(
            "kubecontrollersconfigurations",
            ["controllers": ["node": ["hostEndpoint": ["templates": [["interfaceCIDRs": ["10.0.0.1"]]]]]]],
            "spec.controllers.node.hostEndpoint.templates[0].interfaceCIDRs[0]"),
        Row("caliconodestatuses", ["node": "a", "updatePeriodSeconds": 10]),
        Row("caliconodestatuses", ["updatePeriodSeconds": 10], "spec.node"),
    ]

    private static func rule(_ rule: JSON) -> JSON { ["ingress": [rule]] }
    private static let first = "spec.ingress[0]"

    static let policies: [Row] = [
        Row("globalnetworkpolicies", ["selector": "a == 'b'", "types": ["Ingress"]]),
        Row("globalnetworkpolicies", ["selector": "a ="], "spec.selector"),
        Row("globalnetworkpolicies", ["selector": "global()"], "spec.selector"),
        Row("networkpolicies", ["serviceAccountSelector": "has(a"], "spec.serviceAccountSelector"),
        Row("globalnetworkpolicies", ["doNotTrack": true, "applyOnForward": true]),
        Row("globalnetworkpolicies", ["doNotTrack": true], "spec.applyOnForward"),
        Row("globalnetworkpolicies", ["doNotTrack": true, "preDNAT": true, "applyOnForward": true], "spec.doNotTrack"),
        Row(
            "globalnetworkpolicies", ["preDNAT": true, "applyOnForward": true, "egress": [["action": "Deny"]]],
            "spec.egress"),
        Row(
            "stagedglobalnetworkpolicies", ["preDNAT": true, "applyOnForward": true, "types": ["Egress"]], "spec.types"),
        Row("networkpolicies", rule(["action": "Allow", "source": ["nets": ["10.0.0.0/8", "192.0.2.1"]]])),
        Row("networkpolicies", rule(["action": "Allow", "source": ["nets": ["frob"]]]), "\(first).source.nets[0]"),
        Row(
            "networkpolicies", rule(["action": "Allow", "source": ["nets": ["10.0.0.0/8", "fd00::/8"]]]), "\(first)"),
        Row(
            "networkpolicies", rule(["action": "Allow", "ipVersion": 6, "source": ["notNets": ["10.0.0.0/8"]]]),
            "\(first).ipVersion"),
        Row(
            "networkpolicies",
            rule(["action": "Allow", "protocol": "TCP", "destination": ["ports": [80, "90:100", "web"]]])),
        Row(
            "networkpolicies", rule(["action": "Allow", "destination": ["ports": [80]]]), "\(first).destination.ports"),
        Row(
            "networkpolicies", rule(["action": "Allow", "protocol": "ICMP", "source": ["notPorts": [80]]]),
            "\(first).source.notPorts"),
        Row(
            "networkpolicies", rule(["action": "Allow", "protocol": 6, "destination": ["ports": [65535, 65536]]]),
            "\(first).destination.ports[1]"),
        Row(
            "networkpolicies", rule(["action": "Allow", "protocol": "UDP", "destination": ["ports": ["90:80"]]]),
            "\(first).destination.ports[0]"),
        Row("networkpolicies", rule(["action": "Allow", "protocol": 255])),
        Row("networkpolicies", rule(["action": "Allow", "protocol": 256]), "\(first).protocol"),
        Row("networkpolicies", rule(["action": "Allow", "notProtocol": "Frob"]), "\(first).notProtocol"),
        Row("networkpolicies", rule(["action": "Allow", "protocol": "ICMPv6", "ipVersion": 4]), "\(first).protocol"),
        Row("networkpolicies", rule(["action": "Allow", "icmp": ["type": 8]]), "\(first).icmp"),
        Row("networkpolicies", rule(["action": "Allow", "protocol": "ICMP", "icmp": ["code": 1]]), "\(first).icmp"),
        Row("networkpolicies", rule(["action": "Allow", "protocol": "ICMP", "icmp": ["type": 3, "code": 1]])),
        Row("networkpolicies", rule(["action": "Deny", "http": ["methods": ["GET"]]]), "\(first).http"),
        Row(
            "networkpolicies", rule(["action": "Allow", "protocol": "UDP", "http": ["methods": ["GET"]]]),
            "\(first).http"),
        Row("networkpolicies", rule(["action": "Allow", "destination": ["services": ["name": "web"]]])),
        Row(
            "networkpolicies", rule(["action": "Allow", "destination": ["services": ["name": ""]]]),
            "\(first).destination.services.name"),
        Row(
            "networkpolicies",
            rule(["action": "Allow", "destination": ["services": ["name": "web"], "nets": ["10.0.0.0/8"]]]),
            "\(first).destination.nets"),
        Row(
            "networkpolicies",
            rule(["action": "Allow", "destination": ["services": ["name": "web"], "selector": "all()"]]),
            "\(first).destination.selector"),
        Row("networkpolicies", rule(["action": "Allow", "source": ["namespaceSelector": "global()"]])),
        Row(
            "networkpolicies", rule(["action": "Allow", "source": ["selector": "global()"]]), "\(first).source.selector"
        ),
        Row("globalnetworksets", ["nets": ["10.0.0.0/8", "fd00::1"]]),
        Row("globalnetworksets", ["nets": ["10.0.0.0/33"]], "spec.nets[0]"),
        Row("networksets", ["nets": ["frob"]], "spec.nets[0]"),
        Row("hostendpoints", ["node": "a", "interfaceName": "*"]),
        Row("hostendpoints", ["node": "a", "expectedIPs": ["192.0.2.1"]]),
        Row("hostendpoints", ["interfaceName": "eth0"], "spec.node"),
        Row("hostendpoints", ["node": "a"], "spec.interfaceName"),
        Row("hostendpoints", ["node": "a", "interfaceName": "a b"], "spec.interfaceName"),
        Row("hostendpoints", ["node": "a", "expectedIPs": ["10.0.0.0/8"]], "spec.expectedIPs[0]"),
        Row(
            "hostendpoints",
            ["node": "a", "interfaceName": "eth0", "ports": [["name": "p", "port": 1, "protocol": "X"]]],
            "spec.ports[0].protocol"),
        Row("tiers", ["order": 1.5, "defaultAction": "Pass"]),
        Row("tiers", ["defaultAction": "Maybe"], "spec.defaultAction"),
    ]

    static let ipam: [Row] = [
        Row("ipamhandles", ["handleID": "K8s.A", "block": ["10.0.0.0/26": 64]], name: "k8s.a"),
        Row("ipamhandles", ["block": [:]], "spec.handleID", name: "h"),
        Row("ipamhandles", ["handleID": "h2", "block": [:]], "metadata.name", name: "h"),
        Row("ipamhandles", ["handleID": "h", "block": ["frob": 1]], "spec.block[frob]", name: "h"),
        Row("ipamhandles", ["handleID": "h", "block": ["10.0.0.1/26": 1]], "spec.block[10.0.0.1/26]", name: "h"),
        Row("ipamhandles", ["handleID": "h", "block": ["10.0.0.0/26": -1]], "spec.block[10.0.0.0/26]", name: "h"),
        Row("ipamhandles", ["handleID": "h", "block": ["10.0.0.0/30": 5]], "spec.block[10.0.0.0/30]", name: "h"),
        Row("blockaffinities", ["cidr": "10.0.0.0/26", "node": "a"], name: "a-10-0-0-0-26"),
        Row("blockaffinities", ["cidr": "10.0.0.0/26", "node": "a"], "metadata.name", name: "x"),
        Row("blockaffinities", ["cidr": "frob", "node": "a"], "spec.cidr", name: "x"),
        Row("blockaffinities", ["cidr": "10.0.0.0/26", "node": ""], "spec.node", name: "x"),
        Row("blockaffinities", ["cidr": "10.0.0.0/26", "node": "a", "state": "maybe"], "spec.state", name: "x"),
        Row("ipamconfigurations", ["strictAffinity": true], "metadata.name", name: "other"),
        Row("ipamconfigs", ["ipCooldownSeconds": 1201], "spec.ipCooldownSeconds"),
        Row("ipreservations", ["reservedCIDRs": ["x"]], "spec.reservedCIDRs[0]"),
    ]

    @Test(arguments: peers + bgp + felix + policies + ipam) func rules(_ row: Row) {
        for group in ["crd.projectcalico.org/v1", "projectcalico.org/v3"] {
            let parts = group.split(separator: "/").map(String.init)
            let resource = GroupVersionResource(parts[0], parts[1], row.resource)
            let errors = CalicoRules.problems(resource, IPPoolValidationTests.pool(row.name, row.spec))
            #expect(errors.map(\.field) == (row.field.map { [$0] } ?? []), "\(errors)")
            // Whoever reads it learns why, and what would do.
            #expect(errors.allSatisfy { !$0.detail.isEmpty || !$0.supported.isEmpty || $0.type == .duplicate })
        }
    }

    /// What was let in before the rules can be labelled and deleted, and its specification mended, not made worse.
    @Test func oldObjectsStay() throws {
        let resource = GroupVersionResource("crd.projectcalico.org", "v1", "bgppeers")
        let old = IPPoolValidationTests.pool("p", [:])
        var new = old
        new.metadata["labels"] = ["a": "b"]
        #expect(CalicoRules.problems(resource, new, old: old).isEmpty)
        #expect(!CalicoRules.problems(resource, IPPoolValidationTests.pool("p", ["node": "a"]), old: old).isEmpty)
        #expect(CalicoRules.problems(GroupVersionResource("example.com", "v1", "bgppeers"), old).isEmpty)
    }
}
