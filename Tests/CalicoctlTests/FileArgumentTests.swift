// SPDX-License-Identifier: Apache-2.0

import Calicoctl
import Glibc
import KubeClient
import KubeObjects
import Synchronization
import Testing
import Values

/// Folders behind `-f`, the file of `-c`, and what of a file's objects the tables show.
@Suite struct FileArgumentTests {
    /// A folder of the test's own with a file in it and one below, removed after it.
    private static func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = try Fixture.temporary { mkdtemp($0) != nil }
        let files = ["\(folder)/east.yaml", "\(folder)/below/west.yml", "\(folder)/notes.txt"]
        mkdir("\(folder)/below", 0o700)
        defer {
            for file in files { unlink(file) }
            rmdir("\(folder)/below")
            rmdir(folder)
        }
        let pools = Fixture.pools.split(separator: "---").map(String.init)
        for (file, text) in zip(files, pools + ["no resource: ["]) { try write(text, file) }
        try await body(folder)
    }

    private static func write(_ text: String, _ path: String) throws {
        let file = try #require(fopen(path, "wb"))
        fputs(text, file)
        fclose(file)
    }

    @Test func aFolderIsItsFilesAndWithRThoseBelow() async throws {
        let fixture = try await Fixture()
        try await Self.withFolder { folder in
            let flat = await fixture.run("validate -f \(folder)")
            #expect(flat.output == "Successfully validated 1 'IPPool' resource(s)\n", "\(flat)")
            let deep = await fixture.run("create -R -f \(folder)")
            #expect(deep.output == "Successfully created 2 'IPPool' resource(s)\n", "\(deep)")
            let missing = await fixture.run("create -f \(folder)/none")
            #expect(missing.code == 1 && missing.errors.contains("/none: No such file"), "\(missing)")
        }
    }

    @Test(arguments: [
        ("kind: IPPool", "kind is 'IPPool', and it must be CalicoAPIConfig"),
        ("kind: CalicoAPIConfig\nspec: {datastoreType: etcdv3}", "'etcdv3' is not available in Catbird"),
        (
            "kind: CalicoAPIConfig\nspec: {datastoreType: kubernetes, kubeconfig: /nonexistent/kubeconfig}",
            "/nonexistent/kubeconfig"
        ),
        ("kind: [", "unable to read configuration file"),
    ])
    func theConfigurationFileIsRead(text: String, message: String) async throws {
        try await Self.withFolder { folder in
            let path = "\(folder)/east.yaml"
            try Self.write(text, path)
            let result = await Fixture.runAlone("get ippools -c \(path)")
            #expect(result.code == 1 && result.errors.contains(message), "\(result)")
        }
    }

    @Test func nodesShowTheNumberTheyInherit() async throws {
        let fixture = try await Fixture.racks()
        #expect(await fixture.run("get nodes -o wide").output.contains("(64512)"))
        try await fixture.create(
            "BGPConfiguration", GroupVersionResource("crd.projectcalico.org", "v1", "bgpconfigurations"), "default",
            ["asNumber": 64600])
        #expect(await fixture.run("get nodes -o wide").output.contains("(64600)"))
        let yaml = await fixture.run("get node node-a -o yaml").output
        #expect(!yaml.contains("64600"), "\(yaml)")
    }

    @Test func stagedPoliciesHaveTablesOfTheirOwn() async throws {
        let fixture = try await Fixture()
        let policy = """
            apiVersion: projectcalico.org/v3
            kind: StagedGlobalNetworkPolicy
            metadata:
              name: maybe
            spec:
              order: 10
              selector: all()
            """
        let created = await fixture.run("create -f -", input: policy)
        #expect(created.code == 0, "\(created)")
        #expect(await fixture.run("get sgnp").output.hasPrefix("NAME    TIER"))
        #expect(await fixture.run("get sgnp -o wide").output.contains("all()"))
        #expect(await fixture.run("get sknp -A").code == 0)
        #expect(await fixture.run("get snp").code == 0)
    }

    @Test func showsWhoTakesAnAddressOver() async throws {
        let fixture = try await Fixture.racks()
        var block = try await fixture.client.get(.ipamBlocks, "192-168-0-0-26")
        var attributes = block["spec"]["attributes"].array ?? []
        attributes[0]["alternateOwnerAttrs"] = ["pod": "web-next"]
        block["spec"]["attributes"] = .array(attributes)
        try await fixture.client.update(.ipamBlocks, block)
        let shown = await fixture.run("ipam show --ip=192.168.0.0").output
        #expect(shown.contains("Alternate Owner Attributes:\n  pod: web-next"), "\(shown)")
        #expect(!(await fixture.run("ipam show --ip=192.168.0.1").output.contains("Alternate")))
    }

    @Test func aReportOfAnotherVersionNeedsForce() async throws {
        let fixture = try await Fixture.racks()
        try await fixture.create("ClusterInformation", .clusterInformations, "default", ["clusterGUID": "g"])
        try await Self.withFolder { folder in
            let path = "\(folder)/east.yaml"
            try Self.write(#"{"version": "v0.1.0", "clusterGUID": "g", "allocations": {}}"#, path)
            let refused = await fixture.run("ipam release --from-report=\(path)")
            #expect(refused.code == 1 && refused.errors.contains("was made by version v0.1.0"), "\(refused)")
            #expect(await fixture.run("ipam release --force --from-report=\(path)").code == 0)
        }
    }
}

extension Fixture {
    /// A line without a client given: what it finds on the machine is what counts.
    static func runAlone(_ line: String) async -> Run {
        let errors = Mutex("")
        let code = await Calicoctl.run(
            line.split(separator: " ").map(String.init), input: { [] }, client: nil, output: { _ in },
            errors: { text in errors.withLock { $0 += text } })
        return Run(code: code, output: "", errors: errors.withLock { $0 })
    }
}
