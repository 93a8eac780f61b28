// SPDX-License-Identifier: Apache-2.0

import Calicoctl
import Glibc
import KubeClient
import KubeObjects
import Testing
import Values

/// calicoctl's own scenarios (fv/ipam_test, fv/migrate, st/test_ipam_split, test_flags, test_migrate, test_crud).
@Suite struct CalicoScenarioTests {
    /// A file of the test's own, removed after it.
    private static func withFile(_ text: String = "", _ body: (String) async throws -> Void) async throws {
        var file: CInt = -1
        let name = try Fixture.temporary {
            file = mkstemp($0)
            return file >= 0
        }
        defer { unlink(name) }
        _ = Array(text.utf8).withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        close(file)
        try await body(name)
    }

    // MARK: fv/ipam_test

    @Test func ipamCleanupWithReports() async throws {
        let fixture = try await Fixture.racks()
        try await fixture.create(
            "ClusterInformation", .clusterInformations, "default",
            [
                "clusterGUID": "guid-1", "datastoreReady": true,
            ])
        // The pod is gone, its address was never given back; and a handle without addresses.
        try await fixture.client.delete(.pods, "west", in: "default", gracePeriodSeconds: 0)
        try await fixture.create(
            "IPAMHandle", .ipamHandles, "net.gone",
            [
                "handleID": "net.gone", "block": [:], "deleted": false,
            ])
        try await Self.withFile { report in
            let checked = await fixture.run("ipam check --show-problem-ips -o \(report)")
            #expect(checked.code == 0, "a check with problems ends with 0, as calicoctl's does")
            #expect(
                checked.output.contains("Found 1 IPs that are allocated in IPAM but not actually in use."), "\(checked)"
            )
            #expect(checked.output.contains("Found 1 handles with no matching IPs"))
            let unlocked = await fixture.run("ipam release --from-report=\(report)")
            #expect(unlocked.code == 1 && unlocked.errors.contains("the datastore is not locked"))
            #expect(await fixture.run("datastore migrate lock").output == "Datastore locked.\n")
            let stale = await fixture.run("ipam release --from-report=\(report)")
            #expect(stale.code == 1 && stale.errors.contains("no report was made while the datastore is locked"))
            _ = await fixture.run("ipam check -o \(report)")
            let released = await fixture.run("ipam release --from-report=\(report)")
            #expect(released.code == 0, "\(released.errors)")
            #expect(released.output.contains("Released 1 IPs successfully"), "\(released.output)")
            #expect(released.output.contains("Released 1 handles"), "\(released.output)")
        }
        #expect(await fixture.run("datastore migrate unlock").output == "Datastore unlocked.\n")
        #expect(await fixture.run("ipam check").output.contains("found 0 problems"))
    }

    @Test func ipamReleaseRefusesAReportOfAnotherCluster() async throws {
        let fixture = try await Fixture.racks()
        try await fixture.create("ClusterInformation", .clusterInformations, "default", ["clusterGUID": "guid-1"])
        try await Self.withFile(#"{"clusterGUID": "guid-2", "allocations": {}}"#) { report in
            let refused = await fixture.run("ipam release --from-report=\(report) --force")
            #expect(refused.code == 1 && refused.errors.contains("is of cluster guid-2, and this is cluster guid-1"))
        }
    }

    @Test func ipamReleaseIntersectsReports() async throws {
        let fixture = try await Fixture.racks()
        try await fixture.create("ClusterInformation", .clusterInformations, "default", ["clusterGUID": "g"])
        let entry = #"[{"handle": "net.web", "inUse": false}]"#
        let both = #"{"clusterGUID": "g", "allocations": {"192.168.0.0": \#(entry)}}"#
        let none = #"{"clusterGUID": "g", "allocations": {}}"#
        try await Self.withFile(both) { first in
            try await Self.withFile(none) { second in
                let nothing = await fixture.run("ipam release --from-report=\(first) --from-report=\(second) --force")
                #expect(nothing.output.contains("Released 0 IPs"), "\(nothing)")
            }
            let one = await fixture.run("ipam release --from-report=\(first) --force")
            #expect(one.output.contains("Released 1 IPs"), "\(one)")
        }
    }

    @Test func ipamReleaseOfOneAddress() async throws {
        let fixture = try await Fixture.racks()
        #expect(
            await fixture.run("ipam release --ip=192.168.0.1").output
                == "Successfully released IP address 192.168.0.1\n")
        #expect(await fixture.run("ipam show --ip=192.168.0.1").output == "192.168.0.1 is not assigned\n")
        #expect(await fixture.run("ipam release --ip=192.168.0.1").errors.contains("is not assigned"))
        #expect(await fixture.run("ipam release --ip=1.2.3").errors.contains("invalid IP address specified: 1.2.3"))
        let silent = await fixture.run("ipam release")
        #expect(silent.code == 0 && silent.output.isEmpty)
    }

    // MARK: ipam configure

    @Test func ipamConfigure() async throws {
        let fixture = try await Fixture()
        let set = await fixture.run(
            "ipam configure --strictaffinity=true --max-blocks-per-host=4 --ip-cooldown-seconds=30")
        #expect(set.code == 0, "\(set.errors)")
        #expect(set.output.contains("Successfully set StrictAffinity to: true"))
        let shown = await fixture.run("ipam show --show-configuration").output
        #expect(shown.contains("| StrictAffinity               | true    |"), "\(shown)")
        #expect(shown.contains("| IPCooldownSeconds            |      30 |"))
        // A limit needs strict affinity: the rule that the server has too.
        let refused = await fixture.run("ipam configure --strictaffinity=false")
        #expect(refused.code == 1 && refused.errors.contains("a limit needs strictAffinity"), "\(refused)")
        #expect(await fixture.run("ipam configure --strictaffinity=maybe").errors.contains("Use true or false"))
        #expect(await fixture.run("ipam configure --ip-cooldown-seconds=1201").errors.contains("from 0 to 1200"))
        #expect(await fixture.run("ipam configure").code == 1)
    }

    // MARK: st/test_ipam_split

    @Test func ipamSplit() async throws {
        let fixture = try await Fixture.racks()
        #expect(
            await fixture.run("ipam split 2 --name=east").errors.contains(
                "not splittable while the datastore is not locked"))
        _ = await fixture.run("datastore migrate lock")
        #expect(await fixture.run("ipam split 3 --name=east").errors.contains("not a power of 2"))
        #expect(await fixture.run("ipam split 8 --name=east").errors.contains("smaller than its blocks of /26"))
        #expect(await fixture.run("ipam split 2 --name=north").errors.contains("Unable to find IP pool north"))
        let split = await fixture.run("ipam split 4 --cidr=192.168.0.0/24")
        #expect(split.code == 0, "\(split.errors)")
        let pools = try await fixture.client.list(.ipPools).items.filter { $0.name.hasPrefix("split-") }
        #expect(pools.map(\.name).sorted() == (0..<4).map { "split-east-\($0)" })
        #expect(
            pools.compactMap { $0["spec"]["cidr"].string }.sorted() == [
                "192.168.0.0/26", "192.168.0.128/26", "192.168.0.192/26", "192.168.0.64/26",
            ])
        #expect(pools.allSatisfy { $0["spec"]["nodeSelector"].string == "zone == \"east\"" })
        #expect(try await fixture.client.list(.ipamBlocks).items.count == 2)
    }

    // MARK: migrate

    @Test func exportAndImport() async throws {
        let old = try await Fixture.racks()
        #expect(await old.run("datastore migrate export").errors.hasPrefix("Datastore is not locked."))
        _ = await old.run("datastore migrate lock")
        let exported = await old.run("datastore migrate export")
        #expect(exported.code == 0, "\(exported.errors)")
        let new = try await Fixture()
        try await Self.withFile(exported.output) { file in
            let imported = await new.run("datastore migrate import -f \(file)")
            #expect(imported.code == 0, "\(imported.errors)")
            let again = await new.run("datastore migrate import -f \(file)")
            #expect(again.code == 1 && again.errors.contains("an import is for an empty datastore"))
        }
        #expect(await new.run("ipam show --ip=192.168.0.1").output.contains("pod: lent"))
        #expect(try await new.client.get(.clusterInformations, "default")["spec"]["datastoreReady"].bool == false)
        let blocks = await old.run("ipam show --show-blocks").output
        #expect(await new.run("ipam show --show-blocks").output == blocks)
    }

    // MARK: test_crud and test_flags

    @Test func workloadEndpointsAreMadeFromPods() async throws {
        let fixture = try await Fixture.racks()
        let narrow = await fixture.run("get wep").output
        #expect(narrow.hasPrefix("WORKLOAD   NODE     NETWORKS         INTERFACE"), "\(narrow)")
        #expect(narrow.contains("web        node-a   192.168.0.0/32   cali"))
        let wide = await fixture.run("get workloadendpoints -o wide -A").output
        #expect(wide.contains("node--a-k8s-web-eth0"), "\(wide)")
        #expect(wide.contains("kns.default,ksa.default.default"))
        #expect(await fixture.run("get wep node--a-k8s-web-eth0 -o yaml").output.contains("interfaceName: cali"))
        #expect(
            await fixture.run("get wep nothing").errors.hasPrefix("resource does not exist: WorkloadEndpoint(nothing)"))
        #expect(await fixture.run("get profiles").output.contains("ksa.default.default"))
    }

    @Test(arguments: [
        ("{{.metadata.name}}", "east"),
        ("{{range.spec.allowedUses}}{{.}},{{end}}", "Workload,Tunnel,"),
        ("{{if.spec.natOutgoing}}yes{{else}}no{{end}}", "yes"),
        ("{{if.spec.nothing}}a{{else}}{{printf`%s-%v`(.metadata.name)(.spec.blockSize)}}{{end}}", "east-26"),
        ("{{$n:=.metadata.name}}{{with.spec}}{{$n}}{{.cidr}}{{end}}", "east192.168.0.0/24"),
        ("{{len.spec.allowedUses}}{{index.spec.allowedUses(1)}}", "2Tunnel"),
        ("{{range$i,$u:=.spec.allowedUses}}{{$i}}={{$u}};{{end}}", "0=Workload;1=Tunnel;"),
        ("{{.spec.missing}}", "<no value>"),
    ])
    func getWithAGoTemplate(template: String, expected: String) async throws {
        let fixture = try await Fixture()
        _ = await fixture.run("apply -f -", input: Fixture.pools)
        let result = await fixture.run("get ippool east -o go-template=\(template)")
        #expect(result.output == expected, "\(result.errors)")
    }

    @Test(arguments: [
        ("{{define}}", "{{define}} is not understood"), ("{{if.a}}", "without {{end}}"),
        ("{{frob}}", "\"frob\" is not understood"),
        ("{{.a", "unclosed action"), ("{{end}}", "unexpected {{end}}"), ("{{$x}}", "undefined variable \"$x\""),
        ("{{len}}", "wrong number of args for len"),
    ])
    func namesWhatATemplateSaysThatIsNotUnderstood(template: String, message: String) async throws {
        let fixture = try await Fixture()
        _ = await fixture.run("apply -f -", input: Fixture.pools)
        let result = await fixture.run("get ippool east -o go-template=\(template)")
        #expect(result.code == 1 && result.errors.contains(message), "\(result)")
    }

    @Test func templatesOfFilesAndListsOfColumns() async throws {
        let fixture = try await Fixture()
        _ = await fixture.run("apply -f -", input: Fixture.pools)
        try await Self.withFile("{{range .items -}}\n  {{.metadata.name | printf \"%-6s|\"}}{{end}}") { file in
            #expect(await fixture.run("get ippools -o go-template-file=\(file)").output == "east  |west  |")
        }
        #expect(await fixture.run("get ippools -o custom-columns=NAME,CIDR").output.hasPrefix("NAME   CIDR"))
        #expect(await fixture.run("get ippools -o custom-columns=FROB").errors.contains("has no column FROB"))
    }

    @Test func validatesWithoutACluster() async throws {
        let fixture = try await Fixture()
        #expect(
            await fixture.run("validate -f -", input: Fixture.pools).output
                == "Successfully validated 2 'IPPool' resource(s)\n")
        let wrong = Fixture.pools.split(separator: "\n").map {
            $0.contains("192.168.1.0") ? "  cidr: 192.168.0.0/25\n  frob: 1" : String($0)
        }.joined(separator: "\n")
        let refused = await fixture.run("validate -f -", input: wrong)
        #expect(refused.code == 1 && refused.errors.contains("frob"), "\(refused)")
        let overlap = await fixture.run(
            "validate -f -", input: wrong.split(separator: "\n").filter { !$0.contains("frob") }.joined(separator: "\n")
        )
        #expect(overlap.code == 1 && overlap.errors.contains("east"), "\(overlap)")
        // Host bits alone are no mistake, and are said; so does the API server, whoever sends the pool.
        let hostBits = Fixture.pools.replacing("192.168.1.0", with: "192.168.1.7")
        let warned = await fixture.run("validate -f -", input: hostBits)
        #expect(warned.code == 0 && warned.output == "Successfully validated 2 'IPPool' resource(s)\n", "\(warned)")
        #expect(
            warned.errors.contains(
                "Warning: IPPool(west): spec.cidr 192.168.1.7/24 has host bits set: the pool is the network "
                    + "192.168.1.0/24"), "\(warned)")
        let twins = await fixture.run("validate -f -", input: hostBits.replacing("192.168.0.0", with: "192.168.1.9"))
        #expect(twins.code == 1 && twins.errors.contains("is the network of pool east"), "\(twins)")
        #expect(try await fixture.client.list(.ipPools).items.isEmpty)
    }

    @Test func convertsToV3() async throws {
        let fixture = try await Fixture()
        let old = Fixture.pools.split(separator: "\n").map {
            $0.hasPrefix("apiVersion") ? "apiVersion: crd.projectcalico.org/v1" : String($0)
        }.joined(separator: "\n")
        let converted = await fixture.run("convert -f -", input: old)
        #expect(
            converted.output.contains("apiVersion: projectcalico.org/v3") && !converted.output.contains("crd."),
            "\(converted)")
        #expect(
            await fixture.run("convert -f - -o xml", input: old).errors.contains("unrecognized output format 'xml'"))
    }
}
