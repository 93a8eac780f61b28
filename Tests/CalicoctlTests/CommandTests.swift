// SPDX-License-Identifier: Apache-2.0

import APIServer
import Calicoctl
import Glibc
import KubeClient
import KubeObjects
import Linux
import PKI
import Storage
import Synchronization
import Testing
import Values

/// calicoctl against a real API server in memory.
final class Fixture: Sendable {
    /// The path of a new file or folder of the test's own in /tmp: `make` turns the template into it, as `mkstemp` does.
    static func temporary(_ make: (UnsafeMutablePointer<CChar>) -> Bool) throws -> String {
        var path = Array("/tmp/catbird-calicoctl-XXXXXX".utf8CString)
        try #require(path.withUnsafeMutableBufferPointer { $0.baseAddress.map(make) ?? false })
        return String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    struct Run {
        let code: Int32
        let output: String
        let errors: String
    }

    let server: APIServer
    let client: KubeClient

    init() async throws {
        server = APIServer(
            storage: MemoryBackend(), configuration: APIServerConfiguration(tokenSigner: TokenSigner.create()))
        try await server.bootstrap()
        client = KubeClient(server.inProcessTransport(user: "admin", groups: ["system:masters"]))
    }

    func run(_ line: String, input: String = "") async -> Run {
        let output = Mutex("")
        let errors = Mutex("")
        let code = await Calicoctl.run(
            line.split(separator: " ").map(String.init), input: { Array(input.utf8) }, client: client,
            output: { text in output.withLock { $0 += text } }, errors: { text in errors.withLock { $0 += text } })
        return Run(code: code, output: output.withLock { $0 }, errors: errors.withLock { $0 })
    }

    static let pools = """
        apiVersion: projectcalico.org/v3
        kind: IPPool
        metadata:
          name: east
        spec:
          cidr: 192.168.0.0/24
          ipipMode: Always
          natOutgoing: true
          nodeSelector: zone == "east"
        ---
        apiVersion: projectcalico.org/v3
        kind: IPPool
        metadata:
          name: west
        spec:
          cidr: 192.168.1.0/24
          nodeSelector: zone == "west"
        """
}

@Suite struct CommandTests {
    @Test(.enabled(if: geteuid() == 0)) func diagnosticsOfTheMachine() async throws {
        let fixture = try await Fixture()
        let run = await fixture.run("node diags --log-dir=/nosuch")
        #expect(run.code == 0, "\(run.errors)")
        let line = try #require(run.output.split(separator: "\n").last { $0.hasPrefix("Diags saved to ") })
        let archive = String(line.dropFirst("Diags saved to ".count))
        let listed = try await ProcessSpawner("tar", ["-tzf", archive]).run()
        for name in ["ipv4_route", "ipv6_addr", "nft", "ip_link", "bridge_fdb"] {
            #expect(listed.text.contains("/\(name)\n"), "\(listed.text)")
        }
        let links = try await ProcessSpawner("tar", ["-xzOf", archive, "--wildcards", "*/ip_link"]).run()
        #expect(links.text.contains("lo:"))
        try Files.removeTree(Files.directory(of: archive))
    }

    @Test(.enabled(if: geteuid() == 0)) func theKernelIsTried() async throws {
        let run = await (try await Fixture()).run("node checksystem")
        #expect(run.code == 0 && run.output.contains("vxlan               OK"), "\(run.output)\(run.errors)")
    }

    @Test func nodeCommandsThatAreNone() async throws {
        let fixture = try await Fixture()
        #expect(await fixture.run("node run").errors.contains("DaemonSet calico-node"))
        #expect(await fixture.run("node nosuch").errors.contains("Unknown command: 'node nosuch'"))
        #expect(await fixture.run("cluster nosuch").errors.contains("Available: cluster diags"))
        #expect(await fixture.run("cluster diags --max-parallelism=0").errors.contains("from 1 to 100"))
    }

    @Test func applyTakesWhatGetPrinted() async throws {
        let fixture = try await Fixture()
        _ = await fixture.run("create -f -", input: Fixture.pools)
        let printed = await fixture.run("get ippool east -o yaml").output
        #expect(printed.contains("resourceVersion"))
        let changed = printed.replacing("natOutgoing: true", with: "natOutgoing: false")
        #expect(
            await fixture.run("apply -f -", input: changed).output == "Successfully applied 1 'IPPool' resource(s)\n")
        #expect(try await fixture.client.get(.ipPools, "east")["spec"]["natOutgoing"].bool != true)
        // The stated revision is an old one now.
        let stale = await fixture.run("apply -f -", input: printed)
        #expect(stale.code != 0 && stale.errors.contains("update conflict"))
        // Gone since it was printed: made anew.
        #expect(await fixture.run("delete ippool east").code == 0)
        #expect(await fixture.run("apply -f -", input: printed).code == 0)
    }

    @Test func createsAndShowsPools() async throws {
        let fixture = try await Fixture()
        let created = await fixture.run("create -f -", input: Fixture.pools)
        #expect(created.code == 0)
        #expect(created.output == "Successfully created 2 'IPPool' resource(s)\n")
        let wide = await fixture.run("get ippools -o wide")
        #expect(
            wide.output == """
                NAME   CIDR             NAT     IPIPMODE   VXLANMODE   DISABLED   DISABLEBGPEXPORT   SELECTOR         ASSIGNMENTMODE   
                east   192.168.0.0/24   true    Always     Never       false      false              zone == "east"   Automatic        
                west   192.168.1.0/24   false   Never      Never       false      false              zone == "west"   Automatic        


                """)
        let narrow = await fixture.run("--allow-version-mismatch get ippool west")
        #expect(narrow.output.hasPrefix("NAME   CIDR             SELECTOR"))
        let json = await fixture.run("get pool east -o json")
        let object = try JSON(parsing: json.output)
        #expect(object["apiVersion"].string == "projectcalico.org/v3")
        #expect(object["spec"]["cidr"].string == "192.168.0.0/24")
        let yaml = await fixture.run("get pools -o yaml")
        #expect(yaml.output.contains("kind: IPPoolList"))
    }

    @Test func saysWhatIsThereAndWhatIsNot() async throws {
        let fixture = try await Fixture()
        _ = await fixture.run("apply -f -", input: Fixture.pools)
        let again = await fixture.run("create -f -", input: Fixture.pools)
        #expect(again.code == 1)
        #expect(again.errors.contains("resource already exists: IPPool(east)"))
        #expect(await fixture.run("create --skip-exists -f -", input: Fixture.pools).code == 0)
        let missing = await fixture.run("get ippool north")
        #expect(missing.code == 1)
        #expect(missing.errors.hasPrefix("resource does not exist: IPPool(north) with error:"))
        let deleted = await fixture.run("delete ippool east,west")
        #expect(deleted.output == "Successfully deleted 2 'IPPool' resource(s)\n")
        #expect(await fixture.run("delete ippool east").errors.contains("resource does not exist"))
    }

    @Test func passesOnWhyAPoolIsRefused() async throws {
        let fixture = try await Fixture()
        let text = Fixture.pools.split(separator: "\n").map {
            $0.contains("192.168.1.0") ? "  cidr: 192.168.0.128/25" : String($0)
        }
        let refused = await fixture.run("create -f -", input: text.joined(separator: "\n"))
        #expect(refused.code == 1)
        #expect(refused.errors.contains("Partial success: created the first 1 out of 2"))
        #expect(refused.errors.contains("east"))
    }

    @Test func patchesAndLabels() async throws {
        let fixture = try await Fixture()
        _ = await fixture.run("apply -f -", input: Fixture.pools)
        let patched = await fixture.run("patch ippool west -p {\"spec\":{\"natOutgoing\":true}}")
        #expect(patched.output == "Successfully patched 1 'IPPool' resource\n")
        #expect(try await fixture.client.get(.ipPools, "west")["spec"]["natOutgoing"].bool == true)
        #expect(await fixture.run("label ippool west site=a").code == 0)
        let second = await fixture.run("label ippool west site=b")
        #expect(second.code == 1 && second.errors.contains("--overwrite"))
        #expect(await fixture.run("label ippool west site=b --overwrite").code == 0)
        #expect(await fixture.run("label ippool west site --remove").code == 0)
        #expect(try await fixture.client.get(.ipPools, "west").labels["site"] == nil)
    }

    @Test(arguments: [
        ("get nonsense", "resource type 'nonsense' is not supported"), ("frobnicate", "Unknown command: 'frobnicate'"),
        ("get ippools -o xml", "unrecognized output format 'xml'"), ("get ippools --frob", "Invalid option: '--frob'"),
        ("get ippools -n default", "is not namespaced"), ("get ippools -o", "-o requires argument"),
        ("create -f /nonexistent.yaml", "/nonexistent.yaml"), ("ipam frob", "is not known"),
        ("ipam show --ip=1.2.3", "invalid IP address specified: 1.2.3"),
    ])
    func refuses(line: String, message: String) async throws {
        let fixture = try await Fixture()
        let result = await fixture.run(line)
        #expect(result.code == 1)
        #expect(result.errors.contains(message))
    }

    @Test func showsWhatIsUsed() async throws {
        let fixture = try await Fixture()
        _ = await fixture.run("apply -f -", input: Fixture.pools)
        var allocations = [JSON](repeating: .null, count: 64)
        allocations[5] = 0
        _ = try await fixture.client.create(
            .ipamBlocks,
            KubeObject([
                "apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMBlock", "metadata": ["name": "192-168-0-0-26"],
                "spec": [
                    "cidr": "192.168.0.0/26", "affinity": "host:node-a", "strictAffinity": false,
                    "allocations": .array(allocations),
                    "attributes": [
                        ["handle_id": "h1", "secondary": ["pod": "web", "namespace": "default", "node": "node-b"]]
                    ],
                    "unallocated": .array((0..<64).filter { $0 != 5 }.map { JSON($0) }),
                ],
            ]))
        let blocks = await fixture.run("ipam show --show-blocks")
        #expect(
            blocks.output.contains("| IP Pool  | 192.168.0.0/24 |       256 | 1 (0%)     | 0 (0%)       | 255 (100%) |")
        )
        #expect(
            blocks.output.contains("| Block    | 192.168.0.0/26 |        64 | 1 (2%)     | 0 (0%)       | 63 (98%)   |")
        )
        let address = await fixture.run("ipam show --ip=192.168.0.5")
        #expect(address.output.hasPrefix("IP 192.168.0.5 is in use\nHandle ID: h1\n"))
        #expect(await fixture.run("ipam show --ip=192.168.0.6").output == "192.168.0.6 is not assigned\n")
        #expect(
            await fixture.run("ipam show --show-borrowed").output.contains(
                "| 192.168.0.5 | node-b         | 192.168.0.0/26 | node-a      | pod  | default/web  |"))
    }
}
