// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What must hold of FelixConfiguration, KubeControllersConfiguration and CalicoNodeStatus: each field that has a range
/// or a form which the schema does not know.
enum FelixRules {
    private static let ports: [String] = [
        "bpfKubeProxyHealthzPort", "debugPort", "healthPort", "metadataPort", "prometheusMetricsPort", "vxlanPort",
        "wireguardListeningPort", "wireguardListeningPortV6",
    ]
    private static let mtus = ["ipipMTU", "vxlanMTU", "vxlanMTUV6", "wireguardMTU", "wireguardMTUV6"]
    private static let durations = [
        "dataplaneWatchdogTimeout", "localSubnetL2ReachabilityRefreshInterval", "nftablesRefreshInterval",
    ]
    private static let priorities = [
        "ipv4ElevatedRoutePriority", "ipv4NormalRoutePriority", "ipv6ElevatedRoutePriority", "ipv6NormalRoutePriority",
    ]
    private static let sizes = [
        "bpfExportBufferSizeMB", "bpfMaglevMaxEndpointsPerService", "bpfMaglevMaxServices", "bpfMapSizeConntrack",
        "bpfMapSizeIPSets", "bpfMapSizeIfState", "bpfMapSizeNATAffinity", "bpfMapSizeNATBackend",
        "bpfMapSizeNATFrontend", "bpfMapSizePerCpuConntrack", "bpfMapSizeRoute", "maxIpsetSize",
    ]

    static func configuration(_ spec: SpecReader) -> [FieldError] {
        var spec = spec
        for field in ports { spec.number(field, 0...65535) }
        for field in mtus { spec.number(field, 0...65535) }
        for field in durations { spec.duration(field) }
        for field in priorities { spec.number(field, 1...2_147_483_646) }
        for field in sizes { spec.number(field, 0...Int(Int32.max)) }
        spec.number("vxlanVNI", 0...16_777_215)
        spec.number("deviceRouteProtocol", 0...255)
        spec.number("wireguardRoutingRulePriority", 1...32_766)
        spec.selector("nodeSelector")
        for field in ["mtuIfacePattern", "interfacePrefix"] { pattern(field, &spec) }
        if let value = spec.json["natPortRange"], !value.isNull, FelixSettings.ports(value) == nil {
            spec.refuse("natPortRange", "a port, or a range as 32768:65535, the smaller one first, is wanted")
        }
        spec.address("natOutgoingAddress", .v4)
        spec.address("deviceRouteSourceAddress", .v4)
        spec.address("deviceRouteSourceAddressIPv6", .v6)
        for field in ["externalNodesList", "bpfDSROptoutCIDRs", "bpfExcludeCIDRsFromNAT"] { spec.networks(field) }
        tables(&spec)
        for field in ["failsafeInboundHostPorts", "failsafeOutboundHostPorts"] { failsafe(field, &spec) }
        for (index, value) in (spec.json["kubeNodePortRanges"].array ?? []).enumerated()
        where FelixSettings.ports(value) == nil {
            spec.add([
                .invalid("spec.kubeNodePortRanges[\(index)]", value, "a port, or a range as 30000:32767, is wanted")
            ])
        }
        for (index, item) in (spec.json["healthTimeoutOverrides"].array ?? []).enumerated() {
            var override = SpecReader(item, "spec.healthTimeoutOverrides[\(index)]")
            override.duration("timeout")
            spec.add(override.errors)
        }
        return spec.errors
    }

    private static func pattern(_ field: String, _ spec: inout SpecReader) {
        guard let text = spec.text(field) else { return }
        if field == "interfacePrefix" {
            let isBad = text.split(separator: ",", omittingEmptySubsequences: false).contains { part in
                part.isEmpty || part.utf8.count > 15 || part.contains("/") || part.contains(" ")
            }
            if isBad { spec.refuse(field, "prefixes of interface names are wanted, with commas between, as cali,tap") }
        } else if NamePattern(text) == nil {
            spec.refuse(
                field,
                "a pattern of interface names is wanted, as ^(eth|ens).* without its parentheses: ^eth.*|ens.*; letters, ., [sets], *, +, ? and | are understood"
            )
        }
    }

    /// Which routing tables belong to Calico.
    private static func tables(_ spec: inout SpecReader) {
        if spec.json["routeTableRange"].object != nil, spec.json["routeTableRanges"].array != nil {
            spec.refuse("routeTableRange", "routeTableRanges is set as well: keep that one")
        }
        var ranges = [(spec.json["routeTableRange"], "spec.routeTableRange", 250)]
        for (index, item) in (spec.json["routeTableRanges"].array ?? []).enumerated() {
            ranges.append((item, "spec.routeTableRanges[\(index)]", Int(UInt32.max)))
        }
        for (range, path, last) in ranges {
            guard let low = range["min"].int, let high = range["max"].int else { continue }
            if low < 1 || high < low || high > last {
                spec.add([
                    .invalid(path, range ?? .null, "min and max are of 1 to \(last), and min is not above max")
                ])
            }
        }
    }

    private static func failsafe(_ field: String, _ spec: inout SpecReader) {
        for (index, item) in (spec.json[field].array ?? []).enumerated() {
            var entry = SpecReader(item, "spec.\(field)[\(index)]")
            entry.number("port", 0...65535)
            if let name = entry.text("protocol"), !["tcp", "udp", "sctp"].contains(name.lowercased()) {
                entry.add([.notSupported(entry.at("protocol"), JSON(name), ["tcp", "udp", "sctp"])])
            }
            if let net = entry.text("net"), CIDR(net) == nil {
                entry.refuse("net", "a network such as 10.0.0.0/8 is wanted")
            }
            spec.add(entry.errors)
        }
    }

    static func controllers(_ spec: JSON?) -> [FieldError] {
        var errors: [FieldError] = []
        var top = SpecReader(spec, "spec")
        top.duration("etcdV3CompactionPeriod")
        errors += top.errors
        for name in ["namespace", "node", "policy", "serviceAccount", "workloadEndpoint"] {
            var controller = SpecReader(spec["controllers"][name], "spec.controllers.\(name)")
            controller.duration("reconcilerPeriod")
            controller.duration("leakGracePeriod")
            errors += controller.errors
        }
        let templates = spec["controllers"]["node"]["hostEndpoint"]["templates"].array ?? []
        for (index, item) in templates.enumerated() {
            var template = SpecReader(item, "spec.controllers.node.hostEndpoint.templates[\(index)]")
            template.selector("nodeSelector")
            template.networks("interfaceCIDRs", alsoAddresses: false)
            errors += template.errors
        }
        return errors
    }

    static func nodeStatus(_ spec: SpecReader) -> [FieldError] {
        var spec = spec
        if spec.text("node") == nil { spec.add([.required("spec.node", "the node whose state is wanted")]) }
        spec.number("updatePeriodSeconds", 0...Int(Int32.max))
        return spec.errors
    }
}
