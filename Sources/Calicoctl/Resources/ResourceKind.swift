// SPDX-License-Identifier: Apache-2.0

import Sessions
import KubeObjects
import Values

/// A kind that calicoctl speaks of: its names and the columns of its tables.
struct ResourceKind: Sendable {
    struct Column: Sendable {
        let heading: String
        let isWide: Bool
        let cell: @Sendable (KubeObject) -> String

        init(_ heading: String, wide: Bool = false, _ cell: @escaping @Sendable (KubeObject) -> String) {
            self.heading = heading
            isWide = wide
            self.cell = cell
        }
    }

    let kind: String
    let aliases: [String]
    let resource: GroupVersionResource
    let isNamespaced: Bool
    let isReadOnly: Bool
    let columns: [Column]

    init(
        _ kind: String, _ plural: String, aliases: [String] = [], namespaced: Bool = false, readOnly: Bool = false,
        resource: GroupVersionResource? = nil, wideName: Bool = false, columns: [Column] = []
    ) {
        self.kind = kind
        self.aliases = [plural, kind.lowercased()] + aliases
        self.resource = resource ?? GroupVersionResource("crd.projectcalico.org", "v1", plural)
        isNamespaced = namespaced
        isReadOnly = readOnly
        self.columns = [Column("NAME", wide: wideName) { $0.name }] + columns
    }

    static func named(_ text: String) throws -> ResourceKind {
        let wanted = text.lowercased()
        guard let kind = all.first(where: { $0.aliases.contains(wanted) }) else {
            throw Failure("resource type '\(text)' is not supported")
        }
        return kind
    }

    static func ofDocument(kind: String) -> ResourceKind? {
        all.first { $0.kind == kind }
    }
}

/// How many rules a BGPFilter has for a direction.
private func count(_ heading: String, _ field: String) -> ResourceKind.Column {
    ResourceKind.Column(heading) { "\($0["spec"][field].array?.count ?? 0)" }
}

private func text(_ value: JSON?) -> String {
    switch value {
    case nil, .null?: ""
    case .string(let text)?: text
    case let other?: other.text()
    }
}

private func field(_ heading: String, wide: Bool = false, or missing: String = "", _ path: String...)
    -> ResourceKind.Column
{
    ResourceKind.Column(heading, wide: wide) { object in
        let value = path.reduce(Optional(object.json)) { $0[$1] }
        let found = text(value)
        return found.isEmpty ? missing : found
    }
}

private func list(_ heading: String, _ path: String..., wide: Bool = true) -> ResourceKind.Column {
    ResourceKind.Column(heading, wide: wide) { object in
        let value = path.reduce(Optional(object.json)) { $0[$1] }
        return (value.array ?? []).map(text).joined(separator: ",")
    }
}

extension ResourceKind {
    private static let policyColumns = [
        field("TIER", or: "default", "spec", "tier"), field("ORDER", wide: true, "spec", "order"),
        field("SELECTOR", wide: true, "spec", "selector"),
    ]

    static let all: [ResourceKind] = [
        ResourceKind(
            "IPPool", "ippools", aliases: ["ippool", "ipp", "ipps", "pool", "pools"],
            columns: [
                field("CIDR", "spec", "cidr"),
                field("NAT", wide: true, or: "false", "spec", "natOutgoing"),
                field("IPIPMODE", wide: true, or: "Never", "spec", "ipipMode"),
                field("VXLANMODE", wide: true, or: "Never", "spec", "vxlanMode"),
                field("DISABLED", wide: true, or: "false", "spec", "disabled"),
                field("DISABLEBGPEXPORT", wide: true, or: "false", "spec", "disableBGPExport"),
                field("SELECTOR", or: "all()", "spec", "nodeSelector"),
                field("ASSIGNMENTMODE", wide: true, or: "Automatic", "spec", "assignmentMode"),
            ]),
        ResourceKind(
            "Node", "nodes", aliases: ["node", "no", "nos"], resource: .nodes,
            columns: [
                ResourceKind.Column("ASN", wide: true) { $0.annotations["projectcalico.org/ASNumber"] ?? "" },
                ResourceKind.Column("IPV4", wide: true) { $0.annotations["projectcalico.org/IPv4Address"] ?? "" },
                ResourceKind.Column("IPV6", wide: true) { $0.annotations["projectcalico.org/IPv6Address"] ?? "" },
            ]),
        ResourceKind(
            "IPReservation", "ipreservations", aliases: ["reservation", "reservations"],
            columns: [list("CIDRS", "spec", "reservedCIDRs")]),
        ResourceKind(
            "IPAMConfiguration", "ipamconfigurations", aliases: ["ipamconfig", "ipamconfigs", "ipamconfiguration"],
            resource: .ipamConfigs,
            columns: [
                field("STRICTAFFINITY", or: "false", "spec", "strictAffinity"),
                field("AUTOALLOCATEBLOCKS", or: "true", "spec", "autoAllocateBlocks"),
                field("MAXBLOCKSPERHOST", wide: true, or: "0", "spec", "maxBlocksPerHost"),
            ]),
        ResourceKind(
            "BGPConfiguration", "bgpconfigurations", aliases: ["bgpconfig", "bgpconfigs"],
            columns: [
                field("LOGSEVERITY", "spec", "logSeverityScreen"),
                field("MESHENABLED", or: "true", "spec", "nodeToNodeMeshEnabled"),
                field("ASNUMBER", or: "64512", "spec", "asNumber"),
            ]),
        ResourceKind(
            "BGPPeer", "bgppeers", aliases: ["bgpp", "bgpps", "bp", "bps"],
            columns: [
                field("PEERIP", "spec", "peerIP"), field("NODE", "spec", "node"), field("ASN", "spec", "asNumber"),
            ]),
        ResourceKind(
            "BGPFilter", "bgpfilters",
            columns: [
                count("NUMEXPORTV4", "exportV4"), count("NUMIMPORTV4", "importV4"), count("NUMEXPORTV6", "exportV6"),
                count("NUMIMPORTV6", "importV6"),
            ]),
        ResourceKind(
            "WorkloadEndpoint", "workloadendpoints", aliases: ["wep", "weps"], namespaced: true, readOnly: true,
            resource: .pods, wideName: true,
            columns: [
                field("WORKLOAD", "spec", "pod"), field("NODE", "spec", "node"),
                list("NETWORKS", "spec", "ipNetworks", wide: false), field("INTERFACE", "spec", "interfaceName"),
                list("PROFILES", "spec", "profiles"), list("NATS", "spec", "ipNATs"),
            ]),
        ResourceKind(
            "Profile", "profiles", aliases: ["pro", "pros"], readOnly: true, resource: .namespaces,
            columns: [
                ResourceKind.Column("LABELS", wide: true) { profile in
                    (profile["spec"]["labelsToApply"].object?.strings ?? [:]).sorted { $0.key < $1.key }
                        .map { "\($0.key)=\($0.value)" }.joined(separator: ",")
                }
            ]),
        ResourceKind(
            "CalicoNodeStatus", "caliconodestatuses", aliases: ["nodestatus", "nodestatuses", "caliconodestatus"],
            columns: [field("NODE", "spec", "node"), list("CLASSES", "spec", "classes")]),
        ResourceKind(
            "ClusterInformation", "clusterinformations", aliases: ["clusterinfo", "clusterinfos"], readOnly: true,
            columns: [
                field("CLUSTERGUID", "spec", "clusterGUID"), field("CLUSTERTYPE", "spec", "clusterType"),
                field("CALICOVERSION", "spec", "calicoVersion"), field("DATASTOREREADY", "spec", "datastoreReady"),
            ]),
        ResourceKind("FelixConfiguration", "felixconfigurations", aliases: ["felixconfig", "felixconfigs"]),
        ResourceKind(
            "KubeControllersConfiguration", "kubecontrollersconfigurations",
            aliases: ["kubecontrollersconfig", "kubecontrollersconfigs", "kcc", "kccs"]),
        ResourceKind(
            "HostEndpoint", "hostendpoints", aliases: ["hep", "heps"],
            columns: [
                field("NODE", "spec", "node"), field("INTERFACE", wide: true, "spec", "interfaceName"),
                list("IPS", "spec", "expectedIPs"), list("PROFILES", "spec", "profiles"),
            ]),
        ResourceKind(
            "GlobalNetworkPolicy", "globalnetworkpolicies", aliases: ["gnp", "gnps"],
            columns: policyColumns),
        ResourceKind(
            "NetworkPolicy", "networkpolicies", aliases: ["policy", "np", "policies", "pol", "pols"], namespaced: true,
            columns: policyColumns),
        ResourceKind(
            "StagedGlobalNetworkPolicy", "stagedglobalnetworkpolicies", aliases: ["sgnp", "sgnps"],
            columns: policyColumns),
        ResourceKind(
            "StagedNetworkPolicy", "stagednetworkpolicies", aliases: ["snp", "snps", "scnp"], namespaced: true,
            columns: policyColumns),
        ResourceKind(
            "StagedKubernetesNetworkPolicy", "stagedkubernetesnetworkpolicies", aliases: ["sknp", "sknps"],
            namespaced: true),
        ResourceKind(
            "GlobalNetworkSet", "globalnetworksets", aliases: ["gnetsets", "gns"],
            columns: [list("NETS", "spec", "nets")]),
        ResourceKind(
            "NetworkSet", "networksets", aliases: ["netsets"], namespaced: true, columns: [list("NETS", "spec", "nets")]
        ),
        ResourceKind("Tier", "tiers", columns: [field("ORDER", "spec", "order")]),
    ]
}
