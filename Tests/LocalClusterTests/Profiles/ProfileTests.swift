// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import LocalCluster
import Testing
import Values

@Suite struct ProfileTests {
    @Test func nodesAreNamedAndPlaced() throws {
        var profile = try Profile(
            name: ProfileName("lab"), plan: try FabricPlan.choose(racks: 2, occupied: []),
            createdAt: Timestamp(seconds: 0))
        for _ in 0..<3 { try profile.addNode() }
        #expect(profile.nodes.map(\.name) == ["lab", "lab-m02", "lab-m03"])
        #expect(profile.nodes.map(\.rack) == [1, 2, 1])
        profile.removeNode("lab-m03")
        try profile.addNode()
        #expect(profile.nodes.last?.name == "lab-m04")
        #expect(profile.node(named: "m02")?.name == "lab-m02")
        profile.stopped.insert("lab-m02")
        #expect(Profile(profile.json) == profile)
        #expect(Profile(["name": "lab"]) == nil)
    }

    @Test(arguments: ["lab", "multinode-cluster", "m2", String(repeating: "a", count: 40)])
    func namesOfProfiles(name: String) throws {
        #expect(try ProfileName(name).text == name)
    }

    @Test(arguments: [
        "", " ", ".", "..", "../x", "a", "Lab", "-x", "x-", "x/y", "/etc", "lab\n", "lab\0x", "lab x", "läb", "lab.",
        "*",
        "images", "active-profile", String(repeating: "a", count: 41),
    ])
    func whatCannotNameAProfile(name: String) {
        let error = #expect(throws: LocalClusterError.self) { try ProfileName(name) }
        #expect(error?.code == .usage)
        #expect(error?.message.contains("\"\(name)\" cannot name a profile") == true)
        #expect(Profile(["name": JSON(name)]) == nil)
    }

    /// What files say is checked as what users type is.
    @Test func namesInFilesAreChecked() throws {
        let folder = "/tmp/catbird-profiles-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        defer { try? Files.removeTree(folder) }
        let machine = MachinePaths(stateRoot: "\(folder)/state", runRoot: "\(folder)/run")
        let store = ProfileStore(machine)
        var profile = try Profile(name: ProfileName("lab"), plan: FabricPlan.choose(racks: 1, occupied: []))
        try profile.addNode()
        try store.save(profile)
        try store.setActive(profile.name)
        #expect(try store.activeProfile == profile.name)
        #expect(store.names() == [profile.name])

        try Files.replace(machine.activeProfile, with: "../../etc\n".utf8)
        let error = #expect(throws: LocalClusterError.self) { try store.activeProfile }
        #expect(error?.message.contains(machine.activeProfile) == true)

        // A folder that another profile's description was copied into.
        let other = try ProfileName("other")
        try Files.makeDirectories(store.paths(other).state)
        try Files.replace(store.paths(other).description, with: profile.json.serialized())
        #expect(throws: LocalClusterError.self) { try store.load(other) }

        var damaged = profile.json
        damaged["fabric"]["nodes"] = .array([["name": "../../victim", "rack": 1, "address": "192.168.49.2"]])
        try Files.replace(store.paths(profile.name).description, with: damaged.serialized())
        #expect(throws: LocalClusterError.self) { try store.load(profile.name) }
        for name in ["images", "Not-One", "x"] {
            try Files.makeDirectories("\(machine.stateRoot)/\(name)")
            try Files.replace("\(machine.stateRoot)/\(name)/profile.json", with: profile.json.serialized())
        }
        #expect(try store.names() == [ProfileName("lab"), ProfileName("other")])
    }
}
