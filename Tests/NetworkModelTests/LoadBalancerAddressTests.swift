// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct LoadBalancerAddressTests {
    private static let now = Timestamp(seconds: 1_800_000_000)

    private static func service(
        _ name: String, shows: [String] = [], wanted: String? = nil, annotations: [String: String] = [:],
        families: [String] = ["IPv4"], policy: String = "SingleStack"
    ) -> KubeObject {
        var service = KubeObject(.services, kind: "Service", name: name, namespace: "default")
        service.metadata["uid"] = JSON(name)
        service.metadata["annotations"] = JSON(annotations)
        service["spec"] = [
            "type": "LoadBalancer", "ipFamilies": .array(families.map { JSON($0) }), "ipFamilyPolicy": JSON(policy),
        ]
        if let wanted { service["spec"]["loadBalancerIP"] = JSON(wanted) }
        service["status"]["loadBalancer"] = ["ingress": .array(shows.map { ["ip": JSON($0)] })]
        return service
    }

    private static func pool(_ name: String, _ cidr: String, isAutomatic: Bool = true, isDisabled: Bool = false) throws
        -> IPPool
    {
        IPPool(
            name: name, cidr: try #require(CIDR(cidr)), isDisabled: isDisabled, allowedUses: [.loadBalancer],
            isAutomatic: isAutomatic)
    }

    /// `pools PLACE…`, `range`, `range ADDRESS`, `nowhere`, or what the refusal says.
    private static func words(
        _ service: KubeObject, _ pools: [IPPool], range: String? = "192.168.49.192/30", held: [String] = []
    ) throws -> String {
        let range = try range.map { try #require(CIDR($0)) }
        let held = held.compactMap { IPAddress($0) }
        let source: LoadBalancerAddresses.Source
        do {
            source = try LoadBalancerAddresses.source(of: service, held: held, range: range, IPAMSnapshot(pools: pools))
        } catch {
            return error.description
        }
        switch source {
        case .nowhere: return "nowhere"
        case .range(let wanted): return "range" + (wanted.map { " \($0)" } ?? "")
        case .pools(let request):
            let names = request.choices.values.flatMap(\.pools) + request.explicit.map { "\($0)" }
            return (["pools"] + names + request.families.dropFirst().map(\.rawValue)).joined(separator: " ")
        }
    }

    @Test func whereTheAddressComesFrom() throws {
        let pods = IPPool(name: "pods", cidr: try #require(CIDR("10.244.0.0/16")))
        let automatic = try Self.pool("lb", "172.30.0.0/28")
        let manual = try Self.pool("hand", "172.31.0.0/28", isAutomatic: false)
        let over = try Self.pool("over", "192.168.49.192/30")
        let pools = CalicoKeys.serviceIPv4Pools
        let addresses = CalicoKeys.loadBalancerIPs
        let plain = Self.service("a")
        // Without a pool for Services: the cluster's own range, as ever.
        #expect(try Self.words(plain, [pods]) == "range")
        #expect(try Self.words(plain, [pods], range: nil) == "nowhere")
        #expect(try Self.words(Self.service("a", wanted: "192.168.49.193"), [pods]) == "range 192.168.49.193")
        #expect(try Self.words(Self.service("a", wanted: "10.0.0.1"), [pods]) == "range 10.0.0.1")
        // With one.
        #expect(try Self.words(plain, [pods, automatic]) == "pools")
        #expect(try Self.words(plain, [automatic], range: nil) == "pools")
        #expect(try Self.words(Self.service("a", shows: ["192.168.49.193"]), [automatic]) == "range")
        #expect(try Self.words(Self.service("a", shows: ["192.168.49.193"]), [over]) == "pools")
        #expect(try Self.words(plain, [manual]) == "range")
        #expect(try Self.words(plain, [manual], held: ["172.31.0.1"]) == "pools")
        #expect(try Self.words(plain, [try Self.pool("off", "172.30.0.0/28", isDisabled: true)]) == "range")
        // What is asked for goes where it is.
        #expect(try Self.words(Self.service("a", wanted: "192.168.49.193"), [automatic]) == "range 192.168.49.193")
        #expect(try Self.words(Self.service("a", wanted: "192.168.49.193"), [over]) == "pools 192.168.49.193")
        #expect(try Self.words(Self.service("a", wanted: "172.30.0.3"), [automatic]) == "pools 172.30.0.3")
        #expect(try Self.words(Self.service("a", wanted: "10.0.0.1"), [automatic]) == "pools 10.0.0.1")
        #expect(try Self.words(Self.service("a", annotations: [pools: #"["hand"]"#]), [manual]) == "pools hand")
        #expect(try Self.words(Self.service("a", annotations: [pools: #"["hand"]"#]), []) == "pools hand")
        #expect(
            try Self.words(
                Self.service("a", wanted: "172.30.0.3", annotations: [addresses: #"["172.30.0.4"]"#]), [automatic])
                == "pools 172.30.0.4")
        let dual = ["IPv4", "IPv6"]
        #expect(
            try Self.words(Self.service("a", families: dual, policy: "RequireDualStack"), [automatic]) == "pools IPv6")
        #expect(try Self.words(Self.service("a", families: dual, policy: "PreferDualStack"), [automatic]) == "pools")
    }

    @Test func whatCannotBeUnderstoodIsRefused() throws {
        let key = CalicoKeys.loadBalancerIPs
        for (text, part) in [
            ("172.30.0.1", "not a JSON list"), (#"["x"]"#, "no IP address"), ("[1]", "not a JSON list"),
            (#"["172.30.0.1","172.30.0.2"]"#, "more than one IPv4 address"),
        ] {
            let words = try Self.words(Self.service("a", annotations: [key: text]), [])
            #expect(words.contains(part), "\(text): \(words)")
        }
        #expect(try Self.words(Self.service("a", wanted: "here"), []).contains("spec.loadBalancerIP \"here\""))
    }

    @Test func whatIsNotAskedForAnyMoreGoesBack() throws {
        let pools = [
            try Self.pool("lb", "172.30.0.0/28"), try Self.pool("hand", "172.31.0.0/28", isAutomatic: false),
        ]
        func surplus(_ held: [String], _ service: KubeObject) throws -> [String] {
            let source = try LoadBalancerAddresses.source(
                of: service, held: held.compactMap { IPAddress($0) }, range: nil, IPAMSnapshot(pools: pools))
            guard case .pools(let request) = source else { return ["?"] }
            return LoadBalancerAddresses.surplus(held.compactMap { IPAddress($0) }, request, pools).map { "\($0)" }
        }
        let key = CalicoKeys.serviceIPv4Pools
        #expect(try surplus(["172.30.0.1"], Self.service("a")) == [])
        #expect(try surplus(["172.30.0.1"], Self.service("a", wanted: "172.30.0.2")) == ["172.30.0.1"])
        #expect(try surplus(["172.30.0.1"], Self.service("a", annotations: [key: #"["hand"]"#])) == ["172.30.0.1"])
        #expect(try surplus(["172.31.0.1"], Self.service("a", annotations: [key: #"["172.31.0.0/28"]"#])) == [])
        #expect(try surplus(["172.31.0.1"], Self.service("a")) == ["172.31.0.1"])
        // Its pool is gone: it stays for as long as the Service does.
        #expect(try surplus(["172.29.0.1"], Self.service("a")) == [])
    }

    @Test func theRange() throws {
        let range = try #require(CIDR("192.168.49.192/30"))
        func choose(
            _ service: KubeObject, wanted: String? = nil, taken: [String] = [], pools: [IPPool] = []
        ) throws -> String {
            do {
                return try LoadBalancerAddresses.choose(
                    for: service, wanted: wanted.flatMap { IPAddress($0) }, range: range, pools: pools,
                    holder: { taken.contains("\($0)") ? ObjectKey("default", "other") : nil }
                ).description
            } catch { return error.description }
        }
        let taken = ["192.168.49.192"]
        #expect(try choose(Self.service("b"), taken: taken) == "192.168.49.193")
        #expect(try choose(Self.service("b", shows: ["192.168.49.195"]), taken: taken) == "192.168.49.195")
        #expect(try choose(Self.service("b", shows: ["192.168.49.192"]), taken: taken) == "192.168.49.193")
        #expect(try choose(Self.service("b"), wanted: "192.168.49.194", taken: taken) == "192.168.49.194")
        #expect(try choose(Self.service("b"), wanted: "192.168.49.192", taken: taken).contains("default/other"))
        #expect(try choose(Self.service("b"), wanted: "10.0.0.1").contains("is not in 192.168.49.192/30"))
        #expect(
            try choose(Self.service("b"), taken: (192...195).map { "192.168.49.\($0)" }).contains("all 4 addresses"))
        // The pool's addresses are the pool's.
        let over = try Self.pool("over", "192.168.49.192/31")
        #expect(try choose(Self.service("b"), pools: [over]) == "192.168.49.194")
    }

    @Test func theAllocatorGivesServicesTheirOwnBlocks() throws {
        let lb = try Self.pool("lb", "172.30.0.0/26")
        let pods = IPPool(name: "pods", cidr: try #require(CIDR("10.244.0.0/16")))
        let snapshot = IPAMSnapshot(pools: [pods, lb], config: IPAMConfig(), nodes: ["a": [:]])
        guard
            case .pools(let request) = try LoadBalancerAddresses.source(
                of: Self.service("web"), held: [], range: nil, snapshot),
            case .assign(let plan) = AddressAllocator.decide(request, snapshot, now: Self.now)
        else {
            Issue.record("no address")
            return
        }
        #expect(plan.grants.map { "\($0.address)" } == ["172.30.0.0"])
        #expect(plan.writes.first?.block.affinity == "virtual:load-balancer")
        #expect(plan.writes.first?.claim?.type == "virtual")
        var odd = request
        odd.choices[.v4] = .init(["pods"], source: "annotation projectcalico.org/ipv4pools")
        guard case .refuse(let refusal) = AddressAllocator.decide(odd, snapshot, now: Self.now) else {
            Issue.record("a pool of pods serves a Service")
            return
        }
        #expect(
            refusal.description.hasPrefix("no address for Service default/web; 2 pools were considered: "), "\(refusal)"
        )
        #expect(refusal.description.contains("its allowedUses (Workload, Tunnel) leave out LoadBalancer"))
    }
}
