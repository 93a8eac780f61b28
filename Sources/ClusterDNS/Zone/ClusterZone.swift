// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Answers questions below the cluster's domain, and reverse ones, from `ClusterRecords`.
///
/// Follows the "Kubernetes DNS-Based Service Discovery" specification 1.1.0; names of pods by address are CoreDNS'
/// `pods` option.
public struct ClusterZone: Sendable {
    public enum Pods: String, Sendable {
        case disabled
        /// Any address is a name.
        case insecure
        /// Only addresses of endpoints in that namespace are.
        case verified
    }

    /// `cluster.local`, in lower case.
    public let domain: [String]
    public let ttl: UInt32
    public let pods: Pods
    /// Whether reverse questions about addresses that are not the cluster's go to the next resolver.
    public let reverseFallsThrough: Bool

    public init(
        domain: String = "cluster.local", ttl: UInt32 = 5, pods: Pods = .insecure, reverseFallsThrough: Bool = true
    ) {
        self.domain = domain.lowercased().split(separator: ".").map(String.init)
        self.ttl = ttl
        self.pods = pods
        self.reverseFallsThrough = reverseFallsThrough
    }

    private var apex: DNSName { DNSName(labels: domain.map { Array($0.utf8) }) }

    /// Nil when the question is not this zone's to answer.
    public func answer(_ question: Question, _ records: ClusterRecords) -> Answer? {
        let labels = question.name.lowercased
        guard question.recordClass == 1 else {
            return labels.suffix(domain.count).elementsEqual(domain) ? Answer(.notImplemented) : nil
        }
        if labels.suffix(domain.count).elementsEqual(domain) {
            return forward(question, Array(labels.dropLast(domain.count)), records)
        }
        if labels.suffix(2) == ["in-addr", "arpa"] || labels.suffix(2) == ["ip6", "arpa"] {
            return reverse(question, labels, records)
        }
        return nil
    }

    // MARK: - Names

    private func forward(_ question: Question, _ labels: [String], _ records: ClusterRecords) -> Answer {
        switch labels.last {
        case nil: return atApex(question)
        case "dns-version" where labels.count == 1:
            return found(question, [.text(["1.1.0"])])
        case "svc": return service(question, Array(labels.dropLast()), records)
        case "pod": return pod(question, Array(labels.dropLast()), records)
        default: return missing
        }
    }

    private func atApex(_ question: Question) -> Answer {
        let server = DNSName(labels: [Array("ns".utf8), Array("dns".utf8)] + apex.labels)
        switch question.type {
        case RecordType.soa: return found(question, [startOfAuthority])
        case RecordType.ns: return found(question, [.name(.ns, server)])
        default: return empty
        }
    }

    private func service(_ question: Question, _ labels: [String], _ records: ClusterRecords) -> Answer {
        guard let namespace = labels.last else { return empty }
        guard records.namespaces.contains(namespace) else { return missing }
        let path = labels.dropLast()
        guard let name = path.last else { return empty }
        let key = ObjectKey(namespace, name)
        guard let service = records.services[key] else { return missing }
        let rest = Array(path.dropLast())
        if let external = service.externalName {
            guard rest.isEmpty, let target = DNSName(external) else { return missing }
            return alias(question, target, records)
        }
        let endpoints = records.endpoints(of: key)
        switch rest.count {
        case 0:
            guard service.isHeadless else {
                return addresses(question, service.clusterIPs, or: srv(question, key, service, endpoints))
            }
            guard !endpoints.isEmpty else { return missing }
            return addresses(question, unique(endpoints.map(\.address)), or: srv(question, key, service, endpoints))
        case 1:
            let matching = endpoints.filter { $0.hostname.lowercased() == rest[0] }
            guard !matching.isEmpty else { return missing }
            return addresses(question, unique(matching.map(\.address)), or: nil)
        case 2 where rest[0].hasPrefix("_") && rest[1].hasPrefix("_"):
            let wanted = (port: String(rest[0].dropFirst()), protocolName: String(rest[1].dropFirst()))
            return srv(question, key, service, endpoints) {
                $0.name.lowercased() == wanted.port && $0.protocolName == wanted.protocolName
            }
        default: return missing
        }
    }

    // MARK: - Aliases

    /// So many names are gone through before an alias is taken for a loop; CoreDNS' number.
    private static let longestChain = 8

    /// The alias, and what it leads to: a stub resolver asks once and follows nothing. Where it leads out of the zone,
    /// ``Answer/pending`` says what is to be asked upstream. An alias that leads nowhere in the zone, or in a circle, has
    /// no addresses.
    private func alias(_ question: Question, _ target: DNSName, _ records: ClusterRecords) -> Answer {
        let link = { (name: DNSName, target: DNSName) in Record(name, ttl: ttl, .name(.cname, target)) }
        if [RecordType.cname, RecordType.any].contains(question.type) {
            return Answer(answers: [link(question.name, target)])
        }
        guard [RecordType.a, RecordType.aaaa].contains(question.type) else { return empty }
        var chain = [link(question.name, target)]
        var seen: Set = [question.name.lowercased]
        var next = target
        while chain.count <= Self.longestChain, seen.insert(next.lowercased).inserted {
            let labels = next.lowercased
            guard labels.suffix(domain.count).elementsEqual(domain) else {
                var answer = Answer(answers: chain)
                answer.pending = Question(next, question.type)
                return answer
            }
            if let further = externalName(Array(labels.dropLast(domain.count)), records) {
                chain.append(link(next, further))
                next = further
                continue
            }
            let found = forward(Question(next, question.type), Array(labels.dropLast(domain.count)), records)
            return found.answers.isEmpty ? empty : Answer(answers: chain + found.answers)
        }
        return empty
    }

    /// What the Service of that name is an alias of.
    private func externalName(_ labels: [String], _ records: ClusterRecords) -> DNSName? {
        guard labels.count == 3, labels[2] == "svc", records.namespaces.contains(labels[1]) else { return nil }
        return records.services[ObjectKey(labels[1], labels[0])]?.externalName.flatMap { DNSName($0) }
    }

    private func unique(_ addresses: [IPAddress]) -> [IPAddress] {
        var seen = Set<IPAddress>()
        return addresses.filter { seen.insert($0).inserted }
    }

    private func addresses(_ question: Question, _ all: [IPAddress], or services: @autoclosure () -> Answer?) -> Answer
    {
        switch question.type {
        case RecordType.a: found(question, all.filter { $0.family == .v4 }.map(RecordData.address))
        case RecordType.aaaa: found(question, all.filter { $0.family == .v6 }.map(RecordData.address))
        case RecordType.any: found(question, all.map(RecordData.address))
        case RecordType.srv: services() ?? empty
        default: empty
        }
    }

    private func srv(
        _ question: Question, _ key: ObjectKey, _ service: ClusterRecords.Service,
        _ endpoints: [ClusterRecords.Endpoint],
        where matches: (ClusterRecords.Port) -> Bool = { !$0.name.isEmpty }
    ) -> Answer {
        let base = name(of: key)
        var answers: [Record] = []
        var additional: [Record] = []
        let explicit = question.name.labels.first?.first == UInt8(ascii: "_")
        func add(_ target: DNSName, _ port: UInt16, _ addresses: [IPAddress]) {
            answers.append(
                Record(question.name, ttl: ttl, .service(priority: 0, weight: 100, port: port, target: target)))
            for address in addresses {
                let record = Record(target, ttl: ttl, .address(address))
                if !additional.contains(record) { additional.append(record) }
            }
        }
        if service.isHeadless {
            for endpoint in endpoints {
                for port in endpoint.ports where matches(port) {
                    add(DNSName(labels: [Array(endpoint.hostname.utf8)] + base.labels), port.number, [endpoint.address])
                }
            }
        } else {
            for port in service.ports where matches(port) { add(base, port.number, service.clusterIPs) }
        }
        guard !answers.isEmpty else { return explicit ? missing : empty }
        guard question.type == RecordType.srv || question.type == RecordType.any else { return empty }
        return Answer(answers: answers, additional: additional)
    }

    private func pod(_ question: Question, _ labels: [String], _ records: ClusterRecords) -> Answer {
        guard pods != .disabled, labels.count == 2 else { return labels.isEmpty ? empty : missing }
        guard records.namespaces.contains(labels[1]), let address = ClusterRecords.address(dashed: labels[0]) else {
            return missing
        }
        if pods == .verified {
            let owner = records.owner(of: address)
            guard owner?.endpoints.contains(where: { $0.0.namespace == labels[1] }) ?? false else { return missing }
        }
        return addresses(question, [address], or: nil)
    }

    // MARK: - Addresses

    private func reverse(_ question: Question, _ labels: [String], _ records: ClusterRecords) -> Answer? {
        guard let address = Self.address(reversed: labels), let owner = records.owner(of: address) else {
            return reverseFallsThrough ? nil : missing
        }
        guard question.type == RecordType.ptr || question.type == RecordType.any else { return empty }
        if owner.endpoints.isEmpty { return found(question, [.name(.ptr, name(of: owner.service))]) }
        return found(
            question,
            owner.endpoints.map { service, endpoint in
                .name(.ptr, DNSName(labels: [Array(endpoint.hostname.utf8)] + name(of: service).labels))
            })
    }

    /// The address of `4.3.2.1.in-addr.arpa` or of 32 nibbles below `ip6.arpa`.
    static func address(reversed labels: [String]) -> IPAddress? {
        let digits = labels.dropLast(2)
        if labels.suffix(2) == ["in-addr", "arpa"] {
            return digits.count == 4 ? IPAddress(digits.reversed().joined(separator: ".")) : nil
        }
        guard digits.count == 32, digits.allSatisfy({ $0.utf8.count == 1 }) else { return nil }
        guard let bytes = Hex.bytes(digits.reversed().joined()) else { return nil }
        return IPAddress(bytes: bytes)
    }

    // MARK: - Answers

    private func name(of service: ObjectKey) -> DNSName {
        let labels = [service.name, service.namespace ?? "", "svc"].map { Array($0.utf8) }
        return DNSName(labels: labels + apex.labels)
    }

    private func found(_ question: Question, _ data: [RecordData]) -> Answer {
        let matching = data.filter { question.type == RecordType.any || $0.type == question.type }
        guard !matching.isEmpty else { return empty }
        return Answer(answers: matching.map { Record(question.name, ttl: ttl, $0) })
    }

    private var startOfAuthority: RecordData {
        .authority(
            primary: DNSName(labels: [Array("ns".utf8), Array("dns".utf8)] + apex.labels),
            mailbox: DNSName(labels: [Array("hostmaster".utf8)] + apex.labels), serial: 1, minimum: ttl)
    }

    private var authority: [Record] { [Record(apex, ttl: ttl, startOfAuthority)] }
    private var empty: Answer { Answer(.noError, authority: authority) }
    private var missing: Answer { Answer(.nameError, authority: authority) }
}
