// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import KubeObjects
import NetworkModel
import Values

/// What a sandbox asks of its network. Each wish is the pod's own annotation first, then its namespace's where Calico
/// reads that too, then the runtime's (capability arguments, `CNI_ARGS`), then the network configuration's.
struct PodWishes: Sendable, Hashable {
    var families: [IPFamily] = [.v4]
    var choices: [IPFamily: AddressRequest.PoolChoice] = [:]
    var explicit: [IPAddress] = []
    /// Addresses that the pod brings along (annotation `ipAddrsNoIpam`): IPAM neither gives nor knows them.
    var outside: [IPAddress] = []
    var mac: MACAddress?
    var allowsForwarding = false

    /// - Parameter isDelegated: the addresses come from another plugin, and `ipam` is that one's.
    init(
        _ sandbox: Sandbox, pod: KubeObject?, namespace: KubeObject?, _ configuration: NetworkConfiguration,
        isDelegated: Bool = false
    ) throws(CNIError) {
        let json = configuration.json
        allowsForwarding = Self.allowsForwarding(configuration)
        if isDelegated {
            if let value = json["runtimeConfig"]["mac"], !value.isNull {
                mac = try Self.mac(value.string ?? "\(value)", "runtimeConfig.mac", .invalidConfiguration)
            }
            return
        }
        try takeConfiguration(json["ipam"] ?? [:])
        try takeRuntime(sandbox, json["runtimeConfig"] ?? [:])
        guard let pod else { return }
        try takeAnnotations(pod, namespace, sandbox, json["feature_control"] ?? [:])
    }

    static func allowsForwarding(_ configuration: NetworkConfiguration) -> Bool {
        configuration.json["container_settings"]["allow_ip_forwarding"].bool ?? false
    }

    // MARK: Configuration and runtime

    private mutating func takeConfiguration(_ ipam: JSON) throws(CNIError) {
        let asked = [(IPFamily.v4, "assign_ipv4", true), (.v6, "assign_ipv6", false)]
        var wanted: [IPFamily] = []
        for (family, key, usual) in asked where try Self.flag(ipam[key], key, usual) { wanted.append(family) }
        guard !wanted.isEmpty else {
            throw CNIError(
                .invalidConfiguration,
                "ipam.assign_ipv4 and ipam.assign_ipv6 are both false: no address is left to give")
        }
        families = wanted
        for (family, key) in [(IPFamily.v4, "ipv4_pools"), (.v6, "ipv6_pools")] {
            guard let value = ipam[key], !value.isNull else { continue }
            let names = value.array?.map(\.string) ?? [nil]
            guard !names.contains(nil) else {
                throw CNIError(
                    .invalidConfiguration,
                    "ipam.\(key) is \(value), which is not a list of pool names or networks such as [\"default-pool\"]")
            }
            if !names.isEmpty {
                choices[family] = .init(names.compactMap(\.self), source: "ipam.\(key) of the network configuration")
            }
        }
    }

    /// Calico writes these as words.
    private static func flag(_ value: JSON?, _ key: String, _ usual: Bool) throws(CNIError) -> Bool {
        switch value {
        case nil, .null: return usual
        case .bool(let value): return value
        case .string("true"): return true
        case .string("false"): return false
        case .some(let value):
            throw CNIError(
                .invalidConfiguration, "ipam.\(key) is \(value), which is neither \"true\" nor \"false\"")
        }
    }

    private mutating func takeRuntime(_ sandbox: Sandbox, _ runtime: JSON) throws(CNIError) {
        if let text = sandbox.requestedAddress {
            try ask(for: text.split(separator: ",").map(String.init), "IP of CNI_ARGS (\(text))", .invalidEnvironment)
        }
        if let value = runtime["ips"], !value.isNull {
            let texts = value.array?.map(\.string) ?? [nil]
            guard !texts.contains(nil) else {
                throw CNIError(.invalidConfiguration, "runtimeConfig.ips is \(value), which is not a list of addresses")
            }
            // The capability's form has a prefix length, which has no meaning for the one address of a pod.
            let addresses = texts.compactMap(\.self).map { String($0.prefix { $0 != "/" }) }
            if !addresses.isEmpty { try ask(for: addresses, "runtimeConfig.ips (\(value))", .invalidConfiguration) }
        }
        if let value = runtime["ipRanges"].array, !value.isEmpty {
            throw CNIError(
                .unsupportedField,
                "runtimeConfig.ipRanges (\(JSON.array(value))) is not used: addresses are from IP pools",
                details: "ask for pools with ipam.ipv4_pools or annotation \(CalicoKeys.ipv4Pools)")
        }
        if let value = runtime["mac"], !value.isNull {
            mac = try Self.mac(value.string ?? "\(value)", "runtimeConfig.mac", .invalidConfiguration)
        }
    }

    private mutating func ask(for texts: [String], _ source: String, _ code: CNIError.Code) throws(CNIError) {
        let addresses = texts.map { IPAddress($0) }
        guard !addresses.isEmpty, !addresses.contains(nil) else {
            throw CNIError(code, "\(source) is not a list of addresses such as [\"10.244.0.7\"]")
        }
        let known = addresses.compactMap(\.self)
        guard Set(known.map(\.family)).count == known.count else {
            throw CNIError(code, "\(source) has more than one address of a family: a pod has one of each")
        }
        explicit = known
        families = known.map(\.family)
    }

    /// A unicast address of six bytes: the kernel refuses others, and only when the link is half made.
    private static func mac(_ text: String, _ source: String, _ code: CNIError.Code) throws(CNIError) -> MACAddress {
        guard let mac = MACAddress(text) else {
            throw CNIError(code, "\(source) is \"\(text)\", which is not a MAC address such as 0a:58:0a:f4:00:07")
        }
        let first = "\(mac)".prefix(2)
        guard let byte = UInt8(first, radix: 16), byte & 1 == 0, "\(mac)" != "00:00:00:00:00:00" else {
            throw CNIError(code, "\(source) is \(mac), which no interface can have: it is a group's address or zero")
        }
        return mac
    }

    // MARK: Annotations

    private mutating func takeAnnotations(
        _ pod: KubeObject, _ namespace: KubeObject?, _ sandbox: Sandbox, _ features: JSON
    ) throws(CNIError) {
        let own = pod.annotations
        let around = namespace?.annotations ?? [:]
        let space = pod.namespace ?? ""
        do throws(AddressRequest.PoolChoice.Malformed) {
            for family in IPFamily.allCases {
                let choice = try AddressRequest.PoolChoice(
                    podName: pod.name, podAnnotations: own, namespace: space, namespaceAnnotations: around,
                    family: family)
                if let choice { choices[family] = choice }
            }
            let asked = try AddressRequest.families(
                podName: pod.name, podAnnotations: own, namespace: space, namespaceAnnotations: around)
            if let asked {
                families = asked
                explicit.removeAll { !asked.contains($0.family) }
            }
        } catch {
            throw CNIError(.invalidConfiguration, "no address for \(sandbox.subject): \(error)")
        }
        func annotation(_ key: String) -> String? { own[key].flatMap { $0.isEmpty ? nil : $0 } }
        let fixed = annotation(CalicoKeys.ipAddresses)
        let outside = annotation(CalicoKeys.ipAddressesWithoutIPAM)
        if let fixed, let outside {
            throw CNIError(
                .invalidConfiguration,
                "\(sandbox.subject) has both \(CalicoKeys.ipAddresses) (\(fixed)) and \(CalicoKeys.ipAddressesWithoutIPAM) (\(outside))",
                details: "keep one of the annotations")
        }
        if let fixed {
            let source = "annotation \(CalicoKeys.ipAddresses) of \(sandbox.subject), \(fixed),"
            let texts = (try? JSON(parsing: fixed))?.array?.map { $0.string ?? "" } ?? []
            try ask(for: texts, source, .invalidConfiguration)
        }
        if features["ip_addrs_no_ipam"].bool != true {
            try refuse(outside, CalicoKeys.ipAddressesWithoutIPAM, "ip_addrs_no_ipam", sandbox)
        } else if let outside {
            let source = "annotation \(CalicoKeys.ipAddressesWithoutIPAM) of \(sandbox.subject), \(outside),"
            guard let addresses = Self.withoutIPAM(pod) else {
                throw CNIError(
                    .invalidConfiguration,
                    "\(source) is not a list of addresses such as [\"10.244.0.7\"], one of each family at most")
            }
            self.outside = addresses
        }
        // The agent translates them from the same annotation.
        if features["floating_ips"].bool != true {
            try refuse(annotation(CalicoKeys.floatingIPs), CalicoKeys.floatingIPs, "floating_ips", sandbox)
        }
        if let text = annotation(CalicoKeys.floatingIPs) {
            let list = (try? JSON(parsing: text))?.array?.map { $0.string.flatMap { IPAddress($0) } }
            guard let list, !list.contains(nil) else {
                throw CNIError(
                    .invalidConfiguration,
                    "annotation \(CalicoKeys.floatingIPs) of \(sandbox.subject), \(text), is not a list of addresses such as [\"192.0.2.7\"]"
                )
            }
        }
        if let text = annotation(AllowedSource.annotation), AllowedSource.networks(text) == nil {
            throw CNIError(
                .invalidConfiguration,
                "annotation \(AllowedSource.annotation) of \(sandbox.subject), \(text), is not a list of networks such as [\"10.0.0.0/8\"]"
            )
        }
        if let text = annotation(CalicoKeys.hardwareAddress) {
            mac = try Self.mac(
                text, "annotation \(CalicoKeys.hardwareAddress) of \(sandbox.subject)", .invalidConfiguration)
        }
    }

    /// The addresses that a pod brings along; none without the annotation, nil for one that cannot be used.
    static func withoutIPAM(_ pod: KubeObject) -> [IPAddress]? {
        guard let text = pod.annotations[CalicoKeys.ipAddressesWithoutIPAM], !text.isEmpty else { return [] }
        guard let list = (try? JSON(parsing: text))?.array, !list.isEmpty else { return nil }
        let addresses = list.compactMap { $0.string.flatMap { IPAddress($0) } }
        return addresses.count == list.count && Set(addresses.map(\.family)).count == list.count ? addresses : nil
    }

    /// What Calico does behind a feature flag: an annotation that is not followed would be noticed too late.
    private func refuse(_ value: String?, _ key: String, _ flag: String, _ sandbox: Sandbox) throws(CNIError) {
        guard let value else { return }
        throw CNIError(
            .unsupportedField,
            "\(sandbox.subject): annotation \(key) (\(value)) needs feature_control.\(flag) in the network configuration",
            details: "set it, or remove the annotation")
    }
}
