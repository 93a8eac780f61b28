// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// Which address a Service of type LoadBalancer gets: of the IPPools whose `allowedUses` is LoadBalancer, or, for as long
/// as no such pool serves it, of the one range that the cluster has for the purpose.
public enum LoadBalancerAddresses {
    /// Where the addresses of a Service come from.
    public enum Source: Sendable, Hashable {
        /// To be asked of the allocator.
        case pools(AddressRequest)
        /// The cluster's own range; `wanted` is the address asked for.
        case range(wanted: IPAddress?)
        /// There is neither a pool nor a range: somebody else may serve it.
        case nowhere
    }

    /// Whether the Service's addresses are ours to give: those of another load balancer's class are not.
    public static func isManaged(_ service: KubeObject) -> Bool {
        service["spec"]["type"].string == "LoadBalancer" && service["spec"]["loadBalancerClass"].string == nil
            && !service.isBeingDeleted
    }

    /// The addresses that the Service's status shows.
    public static func shown(_ service: KubeObject?) -> [IPAddress] {
        (service?["status"]["loadBalancer"]["ingress"].array ?? []).compactMap {
            $0["ip"].string.flatMap { IPAddress($0) }
        }
    }

    /// The handle of a Service's addresses, as Calico forms it: a Service that is made again has another.
    public static func handleID(of service: KubeObject) -> String {
        let text = "\(service.name)-\(service.namespace ?? "")-\(service.uid)".lowercased()
        let digest = Base64.text(SHA256.digest(text.utf8))
        return "lb-" + digest.filter { $0.isLetter || $0.isNumber }
    }

    // MARK: Pools

    /// The pools that Services get addresses of.
    public static func pools(_ pools: [IPPool]) -> [IPPool] { pools.filter { $0.allowedUses.contains(.loadBalancer) } }

    /// Decides between pools and range.
    ///
    /// What is asked for by address or by pool goes where it is. Anything else gets an address of a pool if one takes
    /// requests of everybody; a Service that has an address of the range keeps it.
    ///
    /// - Parameters:
    ///   - held: what the Service's handle holds already.
    ///   - range: the cluster's own range, nil where there is none.
    /// - Throws: ``LoadBalancerRefusal`` when the Service asks for what cannot be understood.
    public static func source(
        of service: KubeObject, held: [IPAddress], range: CIDR?, _ snapshot: IPAMSnapshot
    ) throws(LoadBalancerRefusal) -> Source {
        let wish = try LoadBalancerWish(service)
        let pools = pools(snapshot.pools)
        func isInPool(_ address: IPAddress) -> Bool { pools.contains { $0.cidr.contains(address) } }
        var request = request(service, wish)
        if !wish.addresses.isEmpty {
            if let range, let wanted = wish.addresses.first, wish.addresses.count == 1,
                pools.isEmpty || range.contains(wanted) && !isInPool(wanted)
            {
                return .range(wanted: wanted)
            }
            return .pools(request)
        }
        if !wish.choices.isEmpty { return .pools(request) }
        guard !pools.isEmpty else { return range == nil ? .nowhere : .range(wanted: nil) }
        let served = wish.families.filter { !PoolJudge.pools($0, request, snapshot).qualified.isEmpty }
        if wish.prefersDualStack, !served.isEmpty { request.families = served }
        guard let range, held.isEmpty else { return .pools(request) }
        if let present = shown(service).first, range.contains(present), !isInPool(present) {
            return .range(wanted: nil)
        }
        return served.isEmpty ? .range(wanted: nil) : .pools(request)
    }

    /// The request that keeps for the Service what its status shows of the pools' addresses, nil when that is nothing:
    /// a pool may be made over addresses that the range gave out.
    public static func adoption(of service: KubeObject, held: [IPAddress], _ snapshot: IPAMSnapshot) -> AddressRequest?
    {
        let pools = pools(snapshot.pools)
        let shown = shown(service).filter { address in
            !held.contains(address) && pools.contains { $0.cidr.contains(address) }
        }
        guard !shown.isEmpty else { return nil }
        var request = request(service, nil)
        request.explicit = shown
        return request
    }

    private static func request(_ service: KubeObject, _ wish: LoadBalancerWish?) -> AddressRequest {
        AddressRequest(
            node: "", use: .loadBalancer, handleID: handleID(of: service),
            values: [
                "service": service.name, "namespace": service.namespace ?? "", "type": "LoadBalancer",
            ],
            subject: "Service \(service.key)", namespace: service.namespace, families: wish?.families ?? [.v4],
            choices: wish?.choices ?? [:], explicit: wish?.addresses ?? [])
    }

    /// What the Service holds and does not ask for any more: other addresses than those asked for, of other pools than
    /// those asked for, or of a pool that gives only to those who name it. Addresses whose pool is gone are kept.
    public static func surplus(_ held: [IPAddress], _ request: AddressRequest, _ pools: [IPPool]) -> [IPAddress] {
        held.filter { address in
            if !request.explicit.isEmpty { return !request.explicit.contains(address) }
            guard request.families.contains(address.family) else { return true }
            guard let pool = pools.first(where: { $0.cidr.contains(address) }) else { return false }
            guard let choice = request.choices[address.family] else { return !pool.isAutomatic }
            return !choice.pools.contains { $0 == pool.name || $0 == "\(pool.cidr)" }
        }
    }

    // MARK: The cluster's own range

    /// The address of the range for the Service: the wanted one, the one that it shows, or the first that is free.
    /// Addresses of pools are the pools'.
    ///
    /// - Parameter holder: which other Service shows an address.
    /// - Throws: ``LoadBalancerRefusal``, which says why there is none.
    public static func choose(
        for service: KubeObject, wanted: IPAddress?, range: CIDR, pools: [IPPool],
        holder: (IPAddress) -> ObjectKey?
    ) throws(LoadBalancerRefusal) -> IPAddress {
        let pools = Self.pools(pools)
        if let wanted {
            guard range.contains(wanted) else {
                throw LoadBalancerRefusal(
                    "\(wanted), which the Service asks for, is not in \(range), the range of this cluster; choose one of it, or make an IPPool with allowedUses [LoadBalancer]"
                )
            }
            if let other = holder(wanted) {
                throw LoadBalancerRefusal(
                    "\(wanted), which the Service asks for, belongs to Service \(other); choose another or delete that one"
                )
            }
            return wanted
        }
        func isFree(_ address: IPAddress) -> Bool {
            !pools.contains { $0.cidr.contains(address) } && holder(address) == nil
        }
        if let present = shown(service).first, range.contains(present), isFree(present) { return present }
        var candidate: IPAddress? = range.first
        while let address = candidate, range.contains(address) {
            if isFree(address) { return address }
            candidate = address.advanced(by: 1)
        }
        throw LoadBalancerRefusal(
            "all \(range.count) addresses of \(range) are taken; delete a Service of type LoadBalancer, or make an IPPool with allowedUses [LoadBalancer]"
        )
    }
}
