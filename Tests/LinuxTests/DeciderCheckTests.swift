// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

/// `scripts/check-decider`, which `make lint` runs.
@Suite struct DeciderCheckTests {
    private static let script =
        #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" } + "/scripts/check-decider"

    private static func check(_ file: String, _ text: String) async throws -> (code: Int32, output: String) {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/Sources/\(file)"
        try Files.makeDirectories(Files.directory(of: path))
        try Files.replace(path, with: Array(text.utf8))
        let result = try await ProcessSpawner("/bin/bash", [script, folder.path]).run()
        return (result.status.code, String(decoding: result.output, as: UTF8.self))
    }

    @Test(arguments: [
        "import NetworkModel\nlet fits = pool.nodeSelector.matches(labels)",
        "public import NetworkModel\nif let selector = $0.namespaceSelector, selector.matches(labels) {}",
        "let fits = pool[\"spec\"][\"nodeSelector\"].string == \"all()\"",
        "let serves = pool.allowedUses.contains(.tunnel)",
        "let uses = pool[\"spec\"][\"allowedUses\"].array",
        "plan.routes.insert(PlannedRoute(destination, .node(address)))",
    ])
    func aRuleElsewhereFails(line: String) async throws {
        let outside = try await Self.check("NetworkAgent/Cluster/Sample.swift", line + "\n")
        #expect(outside.code == 1)
        #expect(outside.output.hasPrefix("Sources/NetworkAgent/Cluster/Sample.swift:"), "\(outside.output)")
        let inside = try await Self.check("NetworkModel/Pools/Sample.swift", line + "\n")
        #expect(inside.code == 0)
        #expect(inside.output == "")
    }

    @Test(arguments: [
        "import NetworkModel\nprint(\"\\(pool.nodeSelector) selects \\(pool.allowedUses.map { \"\\($0)\" })\")",
        "// pool.nodeSelector.matches(labels) is NetworkModel's.",
        "let node = pod[\"spec\"][\"nodeSelector\"].object",
        "let affinity = term.namespaceSelector.matches(labels)",
        "let known: Set<String> = [\"allowedUses\", \"nodeSelector\"]",
    ])
    func whatIsNoDecisionPasses(line: String) async throws {
        let result = try await Self.check("NetworkAgent/Cluster/Sample.swift", line + "\n")
        #expect(result.code == 0, "\(result.output)")
    }
}
