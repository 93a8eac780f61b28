// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// Which addresses and pools a Service of type LoadBalancer asks for.
///
/// The annotations are Calico's (`projectcalico.org/loadBalancerIPs`, `ipv4pools`, `ipv6pools`: JSON lists); they go
/// before `spec.loadBalancerIP`, and addresses before pools.
public struct LoadBalancerWish: Sendable, Hashable {
    /// Exactly these, at most one a family; empty for any.
    public let addresses: [IPAddress]
    /// The pools asked for, by family.
    public let choices: [IPFamily: AddressRequest.PoolChoice]
    /// As `spec.ipFamilies` has them.
    public let families: [IPFamily]
    /// `spec.ipFamilyPolicy` is PreferDualStack: one family is enough.
    public let prefersDualStack: Bool

    /// - Throws: ``LoadBalancerRefusal`` when a field or an annotation cannot be understood.
    public init(_ service: KubeObject) throws(LoadBalancerRefusal) {
        func names(_ key: String) throws(LoadBalancerRefusal) -> [String] {
            guard let text = service.annotations[key], !text.isEmpty else { return [] }
            let list = (try? JSON(parsing: text))?.array?.map(\.string)
            guard let list, !list.isEmpty, !list.contains(nil) else {
                throw LoadBalancerRefusal("annotation \(key) is \(text), which is not a JSON list of text")
            }
            return list.compactMap(\.self)
        }
        func read(_ texts: [String], _ source: String) throws(LoadBalancerRefusal) -> [IPAddress] {
            var result: [IPAddress] = []
            for text in texts {
                guard let address = IPAddress(text) else {
                    throw LoadBalancerRefusal("\(source) \"\(text)\" is no IP address; remove it or correct it")
                }
                guard !result.contains(where: { $0.family == address.family }) else {
                    throw LoadBalancerRefusal(
                        "\(source) names more than one \(address.family.rawValue) address; a Service has one a family")
                }
                result.append(address)
            }
            return result
        }
        let annotated = try names(CalicoKeys.loadBalancerIPs)
        if annotated.isEmpty {
            let text = service["spec"]["loadBalancerIP"].string ?? ""
            addresses = try read(text.isEmpty ? [] : [text], "spec.loadBalancerIP")
        } else {
            addresses = try read(annotated, "annotation \(CalicoKeys.loadBalancerIPs)")
        }
        var choices: [IPFamily: AddressRequest.PoolChoice] = [:]
        for (family, key) in [(IPFamily.v4, CalicoKeys.serviceIPv4Pools), (.v6, CalicoKeys.serviceIPv6Pools)] {
            let pools = try names(key)
            if !pools.isEmpty { choices[family] = AddressRequest.PoolChoice(pools, source: "annotation \(key)") }
        }
        self.choices = choices
        let families = (service["spec"]["ipFamilies"].array ?? []).compactMap {
            $0.string.flatMap(IPFamily.init(rawValue:))
        }
        self.families = families.isEmpty ? [.v4] : families
        prefersDualStack = service["spec"]["ipFamilyPolicy"].string == "PreferDualStack"
    }
}

/// Why a Service of type LoadBalancer gets no address.
public struct LoadBalancerRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}
