// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Testing
import Values

@Suite(.enabled(if: geteuid() == 0)) struct KernelTests {
    @Test func tablesAreMadeAndListed() throws {
        try Namespaces.inNew([.net]) {
            var tables = try NFTables()
            try tables.run(
                """
                add table ip catbird-test
                add map ip catbird-test services { type ipv4_addr . inet_service : verdict; }
                add chain ip catbird-test one
                add element ip catbird-test services { 10.96.0.1 . 443 : goto one }
                """)
            #expect(try tables.tables(family: "ip").map(\.name) == ["catbird-test"])
            let listed = try tables.list("list map ip catbird-test services")
            #expect(listed.contains { $0["map"]?["name"]?.string == "services" })
            let error = #expect(throws: NFTablesError.self) {
                var tables = try NFTables()
                try tables.run("add rule ip catbird-test nowhere accept\nadd table ip second")
            }
            #expect(error?.message.contains("nowhere") == true)
            #expect(try tables.tables().count == 1)
            try tables.deleteTable(family: "ip", name: "catbird-test")
            try tables.deleteTable(family: "ip", name: "catbird-test")
            #expect(try tables.tables().isEmpty)
        }
    }

    @Test func contextStaysInItsNamespace() throws {
        let folder = try TemporaryFolder()
        let pinned = "\(folder.path)/net"
        try Namespaces.createPinned([.net: pinned])
        defer { try? Namespaces.unpin(pinned) }
        var tables = try NFTables(in: .path(pinned))
        try tables.run("add table ip catbird-test")
        let names = try Namespaces.inNamespaces(net: .path(pinned)) {
            var inside = try NFTables()
            return try inside.tables().map(\.name)
        }
        #expect(names == ["catbird-test"])
    }

    @Test func probeNamesWhatIsMissing() throws {
        let features = try KernelFeatures.probe()
        #expect(features.available.isSuperset(of: [.veth, .bridge, .overlay, .nftables]))
        #expect(features.available.union(features.reasons.keys) == Set(KernelFeatures.Feature.allCases))
    }

    @Test func mountsAreListedAndRemoved() throws {
        let folder = try TemporaryFolder()
        let path = folder.path
        try Namespaces.inNew([.mount]) {
            for name in ["a b", "lower", "upper", "work", "merged"] { try Files.makeDirectories("\(path)/\(name)") }
            try Mounts.tmpfs(onto: "\(path)/a b", size: "1m")
            let listed = try #require(try Mounts.list().first { $0.target == "\(path)/a b" })
            #expect(listed.type == "tmpfs" && !listed.isReadOnly && !listed.isShared)
            try Files.replace("\(path)/lower/file", with: "below".utf8)
            try Mounts.overlay(
                lower: ["\(path)/lower"], upper: "\(path)/upper", work: "\(path)/work", onto: "\(path)/merged")
            try Files.replace("\(path)/merged/file", with: "above".utf8)
            #expect(try Files.text("\(path)/lower/file") == "below")
            #expect(try Files.text("\(path)/upper/file") == "above")
            try Mounts.bind("\(path)/lower", onto: "\(path)/a b", readOnly: true)
            #expect(throws: Errno.self) { try Files.touch("\(path)/a b/new") }
            try Mounts.unmountAll(below: path)
            try Mounts.unmount("\(path)/merged")
            #expect(try !Mounts.list().contains { $0.isBelow(path) })
        }
    }

    @Test func mountInfoReadsEscapes() throws {
        let line = #"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:2 - ext3 /dev/root\134 rw,errors=continue"#
        let mount = try #require(MountInfo(line: line))
        #expect(mount.target == "/mnt 2" && mount.source == #"/dev/root\"# && mount.type == "ext3")
        #expect(mount.propagation == ["master:1", "shared:2"] && mount.isShared)
        #expect(MountInfo(line: "36 35 98:0 / /") == nil)
        #expect(MountInfo(line: "") == nil)
    }

    @Test func sysctlIsOfTheNamespace() throws {
        try Namespaces.inNew([.net]) {
            try Sysctl.write("net.ipv4.ip_forward", "1")
            #expect(try Sysctl.read("net/ipv4/ip_forward") == "1")
            #expect(try Sysctl.read("net.ipv4.conf.lo.forwarding") == "1")
        }
        #expect(throws: Errno.self) { _ = try Sysctl.read("net.no.such") }
    }
}

@Suite struct CgroupTests {
    @Test func layoutIsTakenFromMounts() {
        let lines = [
            "30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw",
            "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
            "32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd",
            "33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
        ].compactMap { MountInfo(line: $0) }
        let hybrid = CgroupLayout(mounts: lines) { _ in [] }
        #expect(hybrid.mode == .hybrid)
        #expect(hybrid.path(of: "/a/b", controller: "cpuacct") == "/sys/fs/cgroup/cpu,cpuacct/a/b")
        #expect(hybrid.hierarchy(of: "memory") == nil)
        #expect(CgroupLayout(mounts: Array(lines.prefix(3))) { _ in [] }.mode == .v1)
        let v2 = CgroupLayout(mounts: [lines[3]]) { _ in ["cpu", "memory"] }
        #expect(v2.mode == .v2)
        #expect(v2.path(of: "x", controller: "memory") == "/sys/fs/cgroup/unified/x")
        #expect(CgroupLimits.weight(forShares: 1024) == 39)
        #expect(CgroupLimits.weight(forShares: 0) == 1)
        #expect(CgroupLimits.weight(forShares: .max) == 10000)
    }

    @Test(.enabled(if: geteuid() == 0)) func groupsHoldAndLoseProcesses() async throws {
        let layout = try CgroupLayout.detect()
        let group = "/catbird-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try layout.create("\(group)/inner")
        try layout.create("\(group)/inner")
        if layout.hierarchy(of: "pids") != nil {
            #expect(try layout.set(CgroupLimits(processes: 50), on: group).isEmpty)
        }
        var spawner = ProcessSpawner("/bin/sh", ["-c", "sleep 1000 & sleep 1000 & echo started; wait"])
        spawner.cgroup = "\(group)/inner"
        let pipe = try FileDescriptor.pipe().take()
        let writer = FileDescriptor(owning: pipe.write)
        let reader = FileDescriptor(owning: pipe.read)
        spawner.descriptors[1] = writer.rawValue
        let process = try spawner.spawn()
        #expect(try reader.read(upTo: 100) == Array("started\n".utf8))
        #expect(layout.processes(in: group).count == 3)
        #expect(layout.processes(in: group).contains(process.pid))
        #expect(layout.usage(of: group).processes <= 3)
        try await layout.destroy(group)
        #expect(await process.wait() == .signalled(SIGKILL))
        #expect(!layout.exists(group))
        try await layout.destroy(group)
    }
}
