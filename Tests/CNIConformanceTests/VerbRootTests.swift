// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import Linux
import Testing
import Values

/// Every verb in every version, through the executable, against real namespaces.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct VerbRootTests {
    private let machine: Machine
    static let versions = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]

    init() throws {
        machine = try Machine()
        for name in ["c1", "c2"] { try machine.makeNamespace(name) }
    }

    /// calico_cni_test: result interfaces.
    @Test(arguments: versions) func addHasTheShapeOfItsVersion(version: String) async throws {
        let network = machine.network(version, more: [("mtu", 1400)])
        let one = try await machine.call("ADD", network)
        #expect(one.isSuccess, "\(one.text)")
        #expect(one.json["cniVersion"].string == version)
        #expect(one.json["ips"].array?.count == 1)
        #expect(one.json["ips"][0]["address"].string?.hasSuffix("/32") == true)
        #expect(one.json["ips"][0]["interface"].int == 1)
        // Addresses name their family before 1.0.0, interfaces their MTU from 1.1.0 on.
        #expect(one.json["ips"][0]["version"].string == (version < "1.0.0" ? "4" : nil))
        #expect(one.json["interfaces"][1]["mtu"].int == (version == "1.1.0" ? 1400 : nil))
        let host = one.json["interfaces"][0]
        #expect(host["name"].string?.hasPrefix("cali") == true && host["sandbox"] == nil)
        #expect(host["mac"].string == "ee:ee:ee:ee:ee:ee")
        let inside = one.json["interfaces"][1]
        let link = try machine.netlink("c1").requireLink("eth0")
        #expect(inside["name"].string == "eth0" && inside["sandbox"].string == machine.path("c1"))
        #expect(inside["mac"].string == link.mac.map { "\($0)" } && link.mtu == 1400)
        #expect(one.json["dns"].object != nil)

        let two = try await machine.call("ADD", network, container: "c2")
        #expect(two.address != one.address)
        // Another container, the machine itself, and a host beyond it that knows no way back.
        #expect(try await machine.ping(two.address, from: "c1"))
        #expect(try await machine.ping("172.31.255.2", from: "c1"))
        #expect(try await machine.ping(one.address, from: Machine.node))
        #expect(try await machine.ping(Machine.stranger, from: "c1"))

        for container in ["c1", "c2"] {
            let gone = try await machine.call("DEL", network, container: container)
            #expect(gone.isSuccess && gone.text.isEmpty, "\(gone.text)")
        }
        #expect(try machine.leftovers().isEmpty)
        #expect(try machine.netlink("c1").link("eth0") == nil)
    }

    @Test(arguments: versions) func checkCameWith0_4_0(version: String) async throws {
        let network = machine.network(version)
        let one = try await machine.call("ADD", network)
        let check = try await machine.call("CHECK", network, previous: one.json)
        #expect(check.isSuccess == (version != "0.3.1"), "\(check.text)")
        if version == "0.3.1" { #expect(check.code == 1) }
        if version != "0.3.1" {
            #expect(check.text.isEmpty)
            let without = try await machine.call("CHECK", network)
            #expect(without.code == 7 && without.message.contains("prevResult"), "\(without.text)")
        }
    }

    @Test(arguments: versions) func gcAndStatusCameWith1_1_0(version: String) async throws {
        let network = machine.network(version)
        for command in ["GC", "STATUS"] {
            let answer = try await machine.call(command, network, netns: "")
            #expect(answer.isSuccess == (version == "1.1.0"), "\(command) \(answer.text)")
            if version != "1.1.0" { #expect(answer.code == 1) }
        }
    }

    @Test(arguments: versions + ["9.9.9"]) func versionIsAnsweredToAnybody(version: String) async throws {
        let answer = try await machine.call(
            "VERSION", ["cniVersion": JSON(version)], program: machine.find("catbird-cni"))
        #expect(answer.isSuccess)
        #expect(answer.json["cniVersion"].string == version)
        let known = answer.json["supportedVersions"].array?.compactMap(\.string) ?? []
        #expect(Self.versions.allSatisfy(known.contains))
    }

    @Test func anUnknownVersionIsRefused() async throws {
        for version in ["0.2.0", "2.0.0", "one"] {
            let answer = try await machine.call("ADD", machine.network(version))
            #expect(!answer.isSuccess && answer.code == 1, "\(version): \(answer.text)")
        }
    }

    @Test func gcReleasesWhatIsNotListed() async throws {
        let network = machine.network("1.1.0")
        let one = try await machine.call("ADD", network)
        let second = try await machine.call("ADD", network, ifName: "eth1")
        let two = try await machine.call("ADD", network, container: "c2")
        #expect(one.isSuccess && second.isSuccess && two.isSuccess, "\(second.text)")
        #expect(Set([one.address, second.address, two.address]).count == 3)
        // A network whose name begins like this one's is another network.
        var other = network
        other["name"] = "local.c3"
        let foreign = try await machine.call("ADD", other, container: "c2", ifName: "eth1")
        #expect(foreign.isSuccess, "\(foreign.text)")
        var request = network
        request["cni.dev/valid-attachments"] = [["containerID": "c1", "ifname": "eth0"]]
        let answer = try await machine.call("GC", request, container: "", netns: "", ifName: "")
        #expect(answer.isSuccess && answer.text.isEmpty, "\(answer.text)")
        #expect(machine.handles == ["local.c1", "local.c3.c2.eth1"])
        #expect(try machine.netlink("c1").link("eth1") == nil)
        #expect(try machine.netlink("c2").link("eth0") == nil)
        let check = try await machine.call("CHECK", network, previous: one.json)
        #expect(check.isSuccess, "\(check.text)")
    }

    @Test func statusSaysWhenAddressesCannotBeGiven() async throws {
        let network = machine.network("1.1.0")
        #expect(try await machine.call("STATUS", network, container: "", netns: "", ifName: "").isSuccess)
        try Files.makeDirectories("\(machine.store)/ipamblocks")
        try Files.replace("\(machine.store)/ipamblocks/10-99-0-0-26.json", with: [UInt8(ascii: "{")])
        let damaged = try await machine.call("STATUS", network, container: "", netns: "", ifName: "")
        #expect(!damaged.isSuccess && damaged.code == 50, "\(damaged.text)")
        #expect(damaged.message.contains("10-99-0-0-26.json") && damaged.message.contains("repair it"))
    }

    /// calico_cni_k8s_test: dual stack.
    @Test func bothFamilies() async throws {
        let network = machine.network(pools: [["cidr": "10.99.0.0/24"], ["cidr": "fd00:99::/112"]])
        let one = try await machine.call("ADD", network)
        let two = try await machine.call("ADD", network, container: "c2")
        #expect(one.json["ips"].array?.count == 2 && two.isSuccess, "\(one.text)\(two.text)")
        let six = String(two.json["ips"][1]["address"].string?.split(separator: "/").first ?? "")
        #expect(two.json["ips"][1]["address"].string?.hasSuffix("/128") == true)
        let ping = try await machine.run("/usr/bin/busybox", ["ping6", "-c", "1", "-W", "3", six], in: "c1")
        #expect(ping.status.isSuccess)
        let check = try await machine.call("CHECK", network, previous: one.json)
        #expect(check.isSuccess, "\(check.text)")
        for container in ["c1", "c2"] { _ = try await machine.call("DEL", network, container: container) }
        #expect(try machine.leftovers().isEmpty)
    }
}
