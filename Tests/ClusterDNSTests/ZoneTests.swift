// SPDX-License-Identifier: Apache-2.0

@testable import ClusterDNS
import KubeObjects
import Testing
import Values

@Suite struct ZoneTests {
    private let zone = ClusterZone(pods: .insecure)

    private var records: ClusterRecords {
        var records = ClusterRecords()
        for namespace in ["default", "kube-system"] { records.setNamespace(namespace, exists: true) }
        records.setService(
            ObjectKey("default", "web"),
            KubeObject([
                "spec": [
                    "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1", "fd00::1"],
                    "ports": [["name": "http", "port": 80, "protocol": "TCP"]],
                ]
            ]))
        records.setService(
            ObjectKey("default", "db"),
            KubeObject(["spec": ["clusterIP": "None", "ports": [["name": "sql", "port": 5432, "protocol": "TCP"]]]]))
        records.setService(ObjectKey("default", "idle"), KubeObject(["spec": ["clusterIP": "None"]]))
        records.setService(
            ObjectKey("default", "out"),
            KubeObject(["spec": ["type": "ExternalName", "externalName": "example.org"]]))
        let slice = { (service: String, addresses: [(String, String?, Bool)], port: JSON) in
            KubeObject([
                "metadata": ["namespace": "default", "labels": ["kubernetes.io/service-name": JSON(service)]],
                "ports": [port],
                "endpoints": .array(
                    addresses.map { address, hostname, ready in
                        [
                            "addresses": [JSON(address)], "conditions": ["ready": JSON(ready)],
                            "hostname": hostname.map { JSON($0) } ?? nil,
                        ]
                    }),
            ])
        }
        records.setSlice(
            ObjectKey("default", "db-1"),
            slice(
                "db", [("10.244.1.5", "db-0", true), ("10.244.2.6", nil, true), ("10.244.2.7", nil, false)],
                ["name": "sql", "port": 5432, "protocol": "TCP"]))
        records.setSlice(
            ObjectKey("default", "web-1"),
            slice("web", [("192.168.1.0", nil, true)], ["name": "http", "port": 3000, "protocol": "TCP"]))
        return records
    }

    private func ask(_ name: String, _ type: UInt16 = RecordType.a) throws -> Answer? {
        zone.answer(Question(try #require(DNSName(name)), type), records)
    }

    private func addresses(_ answer: Answer?) -> [String] {
        (answer?.answers ?? []).compactMap { if case .address(let address) = $0.data { "\(address)" } else { nil } }
    }

    /// An endpoint that moves from one slice to another stands in both for a while.
    @Test func aSliceThatGoesTakesNothingFromAnotherOne() throws {
        var records = records
        let address = try #require(IPAddress("10.244.1.5"))
        let before = records.indexed
        let again = KubeObject([
            "metadata": ["namespace": "default", "labels": ["kubernetes.io/service-name": "db"]],
            "endpoints": [["addresses": ["10.244.1.5"], "hostname": "db-0"]],
        ])
        records.setSlice(ObjectKey("default", "db-2"), again)
        #expect(records.owner(of: address)?.endpoints.count == 1)
        records.setSlice(ObjectKey("default", "db-2"), nil)
        #expect(records.owner(of: address)?.endpoints.map(\.1.hostname) == ["db-0"])
        #expect(records.indexed == before)
        for name in ["db-1", "web-1"] { records.setSlice(ObjectKey("default", name), nil) }
        for name in ["web", "db", "idle", "out"] { records.setService(ObjectKey("default", name), nil) }
        #expect(records.owner(of: address) == nil)
        #expect(records.indexed == (0, 0, 0))
    }

    @Test(arguments: [
        ("web.default.svc.cluster.local", ["10.96.1.1"]), ("WEB.Default.SVC.cluster.LOCAL", ["10.96.1.1"]),
        ("db.default.svc.cluster.local", ["10.244.1.5", "10.244.2.6"]),
        ("db-0.db.default.svc.cluster.local", ["10.244.1.5"]),
        ("10-244-2-6.db.default.svc.cluster.local", ["10.244.2.6"]),
        ("192-168-1-0.web.default.svc.cluster.local", ["192.168.1.0"]),
        ("192-168-1-0.default.pod.cluster.local", ["192.168.1.0"]),
    ])
    func findsAddresses(name: String, expected: [String]) throws {
        let answer = try ask(name)
        #expect(answer?.code == .noError)
        #expect(addresses(answer) == expected)
    }

    @Test(arguments: [
        "none.default.svc.cluster.local", "web.nowhere.svc.cluster.local", "idle.default.svc.cluster.local",
        "x.db.default.svc.cluster.local", "_x._tcp.web.default.svc.cluster.local", "foo.cluster.local",
        "10-244-2-7.db.default.svc.cluster.local", "nonsense.default.pod.cluster.local",
        "1-2-3-4.nowhere.pod.cluster.local",
        "a.b.c.web.default.svc.cluster.local",
    ])
    func knowsWhatIsMissing(name: String) throws {
        let answer = try #require(try ask(name))
        #expect(answer.code == .nameError)
        #expect(answer.answers.isEmpty && answer.authority.count == 1)
    }

    @Test(arguments: [
        ("web.default.svc.cluster.local", RecordType.txt), ("default.svc.cluster.local", RecordType.a),
        ("svc.cluster.local", RecordType.a), ("db.default.svc.cluster.local", RecordType.aaaa),
    ])
    func knowsWhatHasNoSuchRecord(name: String, type: UInt16) throws {
        let answer = try #require(try ask(name, type))
        #expect(answer.code == .noError && answer.answers.isEmpty && answer.authority.count == 1)
    }

    @Test func answersServiceRecords() throws {
        let web = try #require(try ask("_http._tcp.web.default.svc.cluster.local", RecordType.srv))
        #expect(
            web.answers.map(\.data) == [
                .service(
                    priority: 0, weight: 100, port: 80, target: try #require(DNSName("web.default.svc.cluster.local")))
            ])
        #expect(web.additional.count == 2)
        let db = try #require(try ask("_sql._tcp.db.default.svc.cluster.local", RecordType.srv))
        #expect(db.answers.count == 2)
        #expect(
            db.answers.first?.data
                == .service(
                    priority: 0, weight: 100, port: 5432,
                    target: try #require(DNSName("db-0.db.default.svc.cluster.local"))))
    }

    @Test func answersReverseQuestions() throws {
        let service = try ask("1.1.96.10.in-addr.arpa", RecordType.ptr)
        #expect(service?.answers.first?.data == .name(.ptr, try #require(DNSName("web.default.svc.cluster.local"))))
        let endpoint = try ask("5.1.244.10.in-addr.arpa", RecordType.ptr)
        #expect(
            endpoint?.answers.first?.data == .name(.ptr, try #require(DNSName("db-0.db.default.svc.cluster.local"))))
        #expect(try ask("8.8.8.8.in-addr.arpa", RecordType.ptr) == nil)
        #expect(try ask("example.org") == nil)
    }

    @Test func answersAliasesAndTheSchemaVersion() throws {
        #expect(
            try ask("out.default.svc.cluster.local")?.answers.first?.data
                == .name(.cname, try #require(DNSName("example.org"))))
        #expect(try ask("dns-version.cluster.local", RecordType.txt)?.answers.first?.data == .text(["1.1.0"]))
    }

    /// A stub resolver follows no alias: in the zone the answer holds what it leads to.
    @Test func followsAliasesInTheZone() throws {
        var records = records
        func alias(_ name: String, _ target: String) {
            records.setService(
                ObjectKey("default", name),
                KubeObject(["spec": ["type": "ExternalName", "externalName": JSON(target)]]))
        }
        alias("one", "web.default.svc.cluster.local")
        alias("two", "One.Default.svc.cluster.local.")
        alias("headless", "db.default.svc.cluster.local")
        alias("nowhere", "missing.default.svc.cluster.local")
        alias("self", "self.default.svc.cluster.local")
        alias("left", "right.default.svc.cluster.local")
        alias("right", "left.default.svc.cluster.local")
        alias("far", "two.default.svc.cluster.local")
        alias("leaves", "outside.default.svc.cluster.local")
        alias("outside", "www.example.org")
        for number in 0..<20 { alias("c\(number)", "c\(number + 1).default.svc.cluster.local") }
        alias("c20", "web.default.svc.cluster.local")
        func ask(_ name: String, _ type: UInt16 = RecordType.a) throws -> Answer? {
            zone.answer(Question(try #require(DNSName("\(name).default.svc.cluster.local")), type), records)
        }
        for (name, aliases, found) in [
            ("one", 1, ["10.96.1.1"]), ("two", 2, ["10.96.1.1"]), ("far", 3, ["10.96.1.1"]),
            ("headless", 1, ["10.244.1.5", "10.244.2.6"]), ("nowhere", 0, []), ("self", 0, []), ("left", 0, []),
            ("right", 0, []), ("c0", 0, []), ("c14", 7, ["10.96.1.1"]), ("c12", 0, []),
        ] {
            let answer = try ask(name)
            #expect(answer?.code == .noError, "\(name)")
            #expect(addresses(answer).sorted() == found, "\(name)")
            #expect((answer?.answers.count ?? 0) - found.count == aliases, "\(name)")
            #expect(answer?.pending == nil, "\(name)")
        }
        #expect(try addresses(ask("one", RecordType.aaaa)) == ["fd00::1"])
        #expect(try ask("one", RecordType.cname)?.answers.count == 1)
        #expect(try ask("one", RecordType.txt)?.answers.isEmpty == true)
        let leaving = try ask("leaves")
        #expect(leaving?.answers.count == 2 && leaving?.pending?.name == DNSName("www.example.org"))
    }

    @Test func forgetsWhatIsGone() throws {
        var changed = records
        changed.setSlice(ObjectKey("default", "db-1"), nil)
        changed.setService(ObjectKey("default", "web"), nil)
        let question = Question(try #require(DNSName("5.1.244.10.in-addr.arpa")), RecordType.ptr)
        #expect(zone.answer(question, changed) == nil)
        #expect(changed.owner(of: IPAddress(10, 96, 1, 1)) == nil)
    }
}

@Suite struct MessageTests {
    /// A question for `name`, as a stub resolver sends it.
    private func query(_ name: [UInt8], extra: [UInt8] = [], additional: UInt8 = 0) -> [UInt8] {
        [0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, additional] + name + [0, 1, 0, 1] + extra
    }

    @Test func readsQuestions() throws {
        let query = try Query(parsing: query([3, 0x57, 0x77, 0x77, 1, 0x78, 0]))
        #expect(query.id == 0x1234)
        #expect(query.question.name.description == "Www.x.")
        #expect(query.question.name.lowercased == ["www", "x"])
        #expect(query.payloadSize == 512 && !query.hasEDNS && query.recursionDesired)
    }

    @Test func readsPayloadSizes() throws {
        let opt: [UInt8] = [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]
        let query = try Query(parsing: query([1, 0x78, 0], extra: opt, additional: 1))
        #expect(query.hasEDNS && query.payloadSize == 1232)
    }

    @Test func refusesWhatIsNoQuestion() {
        let loop = query([0xC0, 12])
        let forward = query([0xC0, 0xFF])
        let long = query(
            Array(repeating: [UInt8(63)] + [UInt8](repeating: 0x61, count: 63), count: 5).flatMap { $0 } + [0])
        let answer: [UInt8] = [0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]
        for bytes in [[], [1, 2, 3], loop, forward, long, answer, query([5, 0x61, 0]), query([0x80, 0])] {
            #expect(throws: DNSFormatError.self) { try Query(parsing: bytes) }
        }
    }

    @Test func neverTrapsOnNoise() {
        var state: UInt64 = 99
        for _ in 0..<20_000 {
            var bytes = query([1, 0x61, 0xC0, 12])
            for _ in 0..<4 {
                state = state &* 6_364_136_223_846_793_005 &+ 1
                let index = Int(state >> 33) % bytes.count
                bytes[index] = UInt8(truncatingIfNeeded: state >> 20)
            }
            _ = try? Query(parsing: Array(bytes.prefix(Int(state >> 40) % (bytes.count + 1))))
        }
    }
}

@Suite struct CorefileTests {
    @Test func readsWhatTheClusterShips() throws {
        let file = try Corefile(
            parsing: """
                .:53 {
                    errors
                    kubernetes cluster.test in-addr.arpa ip6.arpa {
                       pods verified
                       fallthrough in-addr.arpa ip6.arpa
                       ttl 30  # seconds
                    }
                    forward . 1.1.1.1 /etc/resolv.conf {
                       max_concurrent 10
                    }
                    cache 60
                    rewrite name a b
                }
                """)
        #expect(file.domain == "cluster.test" && file.pods == .verified && file.ttl == 30)
        #expect(file.upstreams == ["1.1.1.1", "/etc/resolv.conf"] && file.maximumConcurrent == 10)
        #expect(file.cacheSeconds == 60 && file.reverseFallsThrough && file.ignored == ["rewrite"])
    }

    /// Everything that stands in the cluster's own file acts.
    @Test func allOfTheClustersOwnFileIsInForce() throws {
        let file = try Corefile(
            parsing: """
                .:53 {
                    errors
                    health {
                       lameduck 5s
                    }
                    ready
                    kubernetes cluster.local in-addr.arpa ip6.arpa {
                       pods insecure
                       fallthrough in-addr.arpa ip6.arpa
                       ttl 30
                    }
                    prometheus :9153
                    forward . /etc/resolv.conf {
                       max_concurrent 1000
                    }
                    cache 30
                    loop
                    reload
                    loadbalance
                }
                """)
        #expect(file.ignored.isEmpty)
        #expect(
            file.plugins == [
                "errors", "health", "ready", "kubernetes", "prometheus", "forward", "cache", "loop", "reload",
                "loadbalance",
            ])
        #expect(file.logsErrors && file.detectsLoops && file.reloads && file.loadBalances)
        #expect(file.healthPort == 8080 && file.lameduckSeconds == 5 && file.readyPort == 8181)
        #expect(file.metricsPort == 9153)
    }

    @Test func whatHasNoEffectIsNamed() throws {
        let file = try Corefile(
            parsing: """
                . {
                    kubernetes cluster.local other.local {
                       fallthrough
                       fallthrough cluster.local
                       namespaces a b
                    }
                    forward . 1.1.1.1 {
                       policy random
                    }
                    cache 30 example.org {
                       prefetch 10
                    }
                    hosts {
                       10.0.0.1 a
                    }
                }
                """)
        #expect(
            file.ignored == [
                "kubernetes other.local", "kubernetes fallthrough cluster.local", "kubernetes namespaces a b",
                "forward policy random", "cache for example.org alone", "cache prefetch 10", "hosts",
            ])
    }

    @Test(arguments: [
        (". {\n loadbalance weighted f\n}", 2), (". {\n forward example.org 1.1.1.1\n}", 2),
        (". {\n forward . tls://1.1.1.1\n}", 2), (". {\n health x\n}", 2), (". {\n health {\n lameduck 5\n }\n}", 3),
        (". {\n kubernetes {\n pods maybe\n }\n}", 3), (". {\n cache x\n}", 2), (". {\n forward .\n}", 2), ("}", 1),
        (". {\n", 1), ("kubernetes\n", 1), (". {\n kubernetes {\n ttl 99999\n }\n}", 3),
    ])
    func namesTheLineOfAMistake(text: String, line: Int) {
        #expect { try Corefile(parsing: text) } throws: { ($0 as? Corefile.ParseError)?.line == line }
    }

    @Test func readsResolverFiles() {
        let found = ResolverFile.nameServers(
            "search x\nnameserver 1.2.3.4\n#nameserver 9.9.9.9\nnameserver\tfd00::1\nnameserver x\n")
        #expect(found.map(\.description) == ["1.2.3.4", "fd00::1"])
    }
}
