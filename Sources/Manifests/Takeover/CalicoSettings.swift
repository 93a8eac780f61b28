// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Values

/// What Calico's calico.yaml sets, as people apply it over a cluster: the environment of its calico-node and install-cni
/// containers, with what that takes from ConfigMaps.
///
/// The variables are those of Calico's reference "Configure calico/node".
struct CalicoSettings: Sendable, Hashable {
    /// Of all containers of the pod, each name once; the main container's come first.
    private(set) var variables: [String: String] = [:]
    /// Variables whose ConfigMap does not have the key.
    private(set) var unreadable: [String] = []

    /// - Parameter configMaps: of the DaemonSet's namespace, by name.
    init(pod: JSON, configMaps: [String: KubeObject]) {
        for variable in Self.environment(of: pod) {
            guard let name = variable["name"].string, variables[name] == nil else { continue }
            if let value = variable["value"].string {
                variables[name] = value
            } else if let reference = variable["valueFrom"]["configMapKeyRef"] {
                let map = configMaps[reference["name"].string ?? ""]
                if let value = map?["data"][reference["key"].string ?? ""].string {
                    variables[name] = value
                } else if reference["optional"].bool != true {
                    unreadable.append(name)
                }
            }
        }
    }

    /// The ConfigMaps that a pod's environment asks for.
    static func configMaps(of pod: JSON) -> Set<String> {
        Set(environment(of: pod).compactMap { $0["valueFrom"]["configMapKeyRef"]["name"].string })
    }

    private static func environment(of pod: JSON) -> [JSON] {
        let containers = (pod["containers"].array ?? []) + (pod["initContainers"].array ?? [])
        return containers.flatMap { $0["env"].array ?? [] }
    }
}

/// What becomes of Calico's settings when Catbird's agent runs in the place of its calico-node.
struct Takeover: Sendable, Hashable {
    /// For the agent's container, beside its own.
    private(set) var environment: [String: String] = [:]
    /// A pool to make, where there is none.
    private(set) var newPool: KubeObject?
    /// Fields of the default pool's spec that change.
    private(set) var poolChange: [String: String] = [:]
    /// What is taken over, one phrase each.
    private(set) var taken: [String] = []
    /// What is not, each with the reason.
    private(set) var left: [String] = []

    /// - Parameters:
    ///   - pools: all that the cluster has.
    ///   - podCIDR: of a new pool whose range is not set.
    init(_ settings: CalicoSettings, pools: [KubeObject], podCIDR: String) {
        var open = settings.variables.filter { !Self.holdsAnyway($0.key, $0.value) && !$0.value.isEmpty }
        takePool(&open, pools, podCIDR)
        takeMTU(&open)
        for name in ["IP_AUTODETECTION_METHOD", "IP6_AUTODETECTION_METHOD"] {
            guard let method = open.removeValue(forKey: name) else { continue }
            do throws(AddressDetection.Problem) {
                _ = try AddressDetection(method)
                keep(name, method)
            } catch { left.append("\(name): \(error)") }
        }
        for (name, value) in open.sorted(by: { $0.key < $1.key }) {
            if Self.handedOn.contains(name) {
                keep(name, value)
            } else if let reason = Self.reason(name, value) {
                left.append("\(name) \(Self.short(value)): \(reason)")
            }
        }
        left += settings.unreadable.sorted().map { "\($0): its ConfigMap does not have it" }
    }

    private mutating func keep(_ name: String, _ value: String) {
        environment[name] = value
        taken.append("\(name) \(value)")
    }

    private static func short(_ value: String) -> String { value.count > 60 ? "\(value.prefix(60))…" : value }

    // MARK: - The MTU

    private mutating func takeMTU(_ open: inout [String: String]) {
        let names = ["CNI_MTU", "FELIX_IPINIPMTU", "FELIX_VXLANMTU", "FELIX_WIREGUARDMTU"]
        // One value stands for all, as in calico-config's veth_mtu; 0 has it found out.
        let values = names.compactMap { name in open.removeValue(forKey: name).map { (name, $0) } }
            .filter { $0.1 != "0" }
        guard let (name, text) = values.first else { return }
        guard let mtu = Int(text), (576...65535).contains(mtu) else {
            left.append("\(name) \(Self.short(text)): it is no MTU (576 to 65535, or 0)")
            return
        }
        environment["CNI_MTU"] = text
        taken.append("\(name) \(text)")
        for (other, value) in values.dropFirst() where value != text {
            left.append("\(other) \(Self.short(value)): pods and tunnels have one MTU here, \(text) of \(name)")
        }
    }

    // MARK: - The pool

    private static let poolVariables = [
        "CALICO_IPV4POOL_CIDR", "CALICO_IPV4POOL_BLOCK_SIZE", "CALICO_IPV4POOL_IPIP", "CALICO_IPV4POOL_VXLAN",
        "CALICO_IPV4POOL_NAT_OUTGOING", "CALICO_IPV4POOL_NODE_SELECTOR",
    ]

    private mutating func takePool(_ open: inout [String: String], _ pools: [KubeObject], _ podCIDR: String) {
        var asked: [String: String] = [:]
        for name in Self.poolVariables { asked[name] = open.removeValue(forKey: name) }
        guard !asked.isEmpty else { return }
        guard !pools.isEmpty else { return makePool(asked, podCIDR) }
        guard let pool = pools.first(where: { $0.name == Addons.defaultPool }), FieldOwners(pool).areOurs(field: "spec")
        else {
            let names = pools.map { "\($0.name) \($0["spec"]["cidr"].string ?? "")" }.sorted()
            left.append(
                "\(asked.keys.sorted().joined(separator: ", ")): the pools are what their user made of them "
                    + "(\(names.joined(separator: ", "))), and Calico too reads these where there is no pool")
            return
        }
        for (name, field) in [("CALICO_IPV4POOL_CIDR", "cidr"), ("CALICO_IPV4POOL_BLOCK_SIZE", "blockSize")] {
            guard let value = asked.removeValue(forKey: name) else { continue }
            let present = pool["spec"][field].string ?? pool["spec"][field].int.map { "\($0)" } ?? ""
            guard value != present else { continue }
            left.append(
                "\(name) \(Self.short(value)): pods have addresses of \(pool.name), whose \(field) is \(present) and does "
                    + "not change; Calico too reads it where there is no pool. Next: make a second pool and move to it, "
                    + "catbird ipam migrate")
        }
        for (name, value) in asked.sorted(by: { $0.key < $1.key }) {
            guard let (field, wanted) = Self.field(name, value) else {
                left.append("\(name) \(Self.short(value)): Calico knows no such value")
                continue
            }
            let present = pool["spec"][field].string ?? pool["spec"][field].bool.map { "\($0)" } ?? ""
            guard wanted != present else { continue }
            poolChange[field] = wanted
            taken.append("\(name) \(value)")
        }
        // A pool has one of the two: who turns one on turns the other off, whatever the other variable left out.
        let (overIPIP, overVXLAN) = (Self.isOn(poolChange["ipipMode"]), Self.isOn(poolChange["vxlanMode"]))
        if overIPIP, !overVXLAN { poolChange["vxlanMode"] = "Never" }
        if overVXLAN, !overIPIP { poolChange["ipipMode"] = "Never" }
    }

    private static func isOn(_ mode: String?) -> Bool { (mode ?? "Never") != "Never" }

    private static func field(_ name: String, _ value: String) -> (String, String)? {
        let modes = ["always": "Always", "never": "Never", "crosssubnet": "CrossSubnet", "off": "Never"]
        switch name {
        case "CALICO_IPV4POOL_IPIP": return modes[value.lowercased()].map { ("ipipMode", $0) }
        case "CALICO_IPV4POOL_VXLAN": return modes[value.lowercased()].map { ("vxlanMode", $0) }
        case "CALICO_IPV4POOL_NAT_OUTGOING":
            return ["true", "false"].contains(value.lowercased()) ? ("natOutgoing", value.lowercased()) : nil
        case "CALICO_IPV4POOL_NODE_SELECTOR": return ("nodeSelector", value)
        default: return nil
        }
    }

    private mutating func makePool(_ asked: [String: String], _ podCIDR: String) {
        var spec: JSON = [
            "cidr": JSON(podCIDR), "blockSize": 26, "ipipMode": "Always", "vxlanMode": "Never", "natOutgoing": true,
            "nodeSelector": "all()", "allowedUses": ["Workload", "Tunnel"],
        ]
        for (name, value) in asked {
            switch name {
            case "CALICO_IPV4POOL_CIDR" where CIDR(value) != nil: spec["cidr"] = JSON(value)
            case "CALICO_IPV4POOL_BLOCK_SIZE" where (20...32).contains(Int(value) ?? 0):
                spec["blockSize"] = JSON(Int(value) ?? 26)
            default:
                guard let (field, wanted) = Self.field(name, value) else {
                    left.append("\(name) \(Self.short(value)): Calico knows no such value")
                    continue
                }
                spec[field] = Self.json(field, wanted)
            }
            taken.append("\(name) \(value)")
        }
        if spec["vxlanMode"].string != "Never", asked["CALICO_IPV4POOL_IPIP"] == nil { spec["ipipMode"] = "Never" }
        taken.sort()
        var pool = KubeObject(.ipPools, kind: "IPPool", name: Addons.defaultPool)
        pool["spec"] = spec
        newPool = pool
    }

    static func json(_ field: String, _ value: String) -> JSON {
        field == "natOutgoing" ? .bool(value == "true") : JSON(value)
    }

    // MARK: - The rest

    /// The agent reads them itself.
    private static let handedOn: Set<String> = [
        "FELIX_PROMETHEUSMETRICSENABLED", "FELIX_PROMETHEUSMETRICSHOST", "FELIX_PROMETHEUSMETRICSPORT",
        "FELIX_PROMETHEUSPROCESSMETRICSENABLED", "FELIX_PROMETHEUSGOMETRICSENABLED", "SKIP_CNI_BINARIES",
        "UPDATE_CNI_BINARIES",
    ]

    /// What holds here without anything being done, or is about the processes of Calico's that are not run.
    private static func holdsAnyway(_ name: String, _ value: String) -> Bool {
        switch name {
        case "DATASTORE_TYPE", "CNI_DATASTORE_TYPE": value == "kubernetes"
        case "IP": value == "autodetect"
        case "IP6", "FELIX_IPV6SUPPORT": ["none", "false", "autodetect"].contains(value.lowercased())
        case "FELIX_DEFAULTENDPOINTTOHOSTACTION": value.uppercased() == "ACCEPT"
        case "CALICO_IPV6POOL_VXLAN", "CALICO_IPV6POOL_IPIP": value == "Never"
        case "CNI_CONF_NAME": value == "10-calico.conflist"
        case "FELIX_TYPHAK8SSERVICENAME": value == "none" || value.isEmpty
        case "WAIT_FOR_DATASTORE", "CLUSTER_TYPE", "NODENAME", "KUBERNETES_NODE_NAME", "SLEEP",
            "CALICO_DISABLE_FILE_LOGGING", "FELIX_HEALTHENABLED", "CALICO_MANAGE_CNI", "FELIX_CHAININSERTMODE",
            "FELIX_LOGSEVERITYSCREEN", "FELIX_USAGEREPORTINGENABLED", "FELIX_LOGFILEPATH", "NO_DEFAULT_POOLS":
            true
        default: false
        }
    }

    /// Why a variable is not taken over; nil when nothing is lost by it.
    private static func reason(_ name: String, _ value: String) -> String? {
        switch name {
        case "DATASTORE_TYPE", "CNI_DATASTORE_TYPE": return "Catbird's datastore is Kubernetes' API"
        case "CALICO_NETWORKING_BACKEND":
            return value == "none"
                ? "routes between nodes are made all the same"
                : nil  // The agent makes the routes itself, and BGP where a BGPConfiguration asks for it.
        case "FELIX_TYPHAK8SSERVICENAME": return "agents watch the API themselves: typha is not run"
        case "CNI_NETWORK_CONFIG": return isUsual(value) ? nil : "the agent writes its own; what differs is left out"
        case "IP", "IP6": return "the node's address is the one that is found (IP_AUTODETECTION_METHOD)"
        default:
            return name.hasPrefix("FELIX_")
                ? "set it in FelixConfiguration default, of which the agent heeds what its page names"
                : "the agent does not know it"
        }
    }

    /// Whether a network's configuration is of the kind that Calico ships: its plugin and its IPAM, then plugins that the
    /// agent's own has too, and nothing of a pod's addresses.
    private static func isUsual(_ text: String) -> Bool {
        // Placeholders for numbers stand outside quotes.
        let filled = text.replacing("__CNI_MTU__", with: "0")
        guard let json = try? JSON(parsing: Array(filled.utf8)), let plugins = json["plugins"].array,
            plugins.first["type"].string == "calico", json["name"].string == "k8s-pod-network"
        else { return false }
        return plugins[0]["ipam"] == ["type": "calico-ipam"] && (plugins[0]["mtu"].int ?? 0) == 0
            && plugins.dropFirst().allSatisfy { ["portmap", "bandwidth"].contains($0["type"].string ?? "") }
    }
}
