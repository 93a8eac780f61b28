// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Testing
import Values

@Suite struct SpecificationTests {
    private func specification(_ change: (inout ContainerSpec) -> Void = { _ in }) throws -> RuntimeSpecification {
        let image = LocalImage(
            reference: "r", id: "i", layerPaths: [],
            config: [
                "config": ["Entrypoint": ["/entry"], "Cmd": ["cmd"], "Env": ["A=1", "B=2"], "WorkingDir": "/work"]
            ])
        var spec = ContainerSpec(sandboxID: "s", name: "c", image: image)
        change(&spec)
        let capabilities = try Capabilities.resolve(spec.security, available: Set(Capabilities.all))
        return RuntimeSpecification(
            spec: spec, sandbox: SandboxSpec(id: "s", podNamespace: "n", podName: "p", podUID: "u", hostname: "host"),
            rootfs: "/rootfs", identity: UserIdentity(uid: 0, gid: 0), home: "/root",
            namespaces: [("mount", nil), ("network", "/ns/net")], cgroupPath: "/pod/c", capabilities: capabilities,
            seccomp: nil, shmPath: "/shm", terminationMessageFile: nil, oomScoreAdjustment: 5)
    }

    @Test(
        arguments: [
            ([], [], ["/entry", "cmd"]), ([], ["x"], ["/entry", "x"]), (["/own"], [], ["/own"]),
            (["/own"], ["x"], ["/own", "x"]),
        ] as [([String], [String], [String])])
    func commandAndArgs(command: [String], args: [String], expected: [String]) throws {
        let arguments = try specification {
            $0.command = command
            $0.args = args
        }.arguments
        #expect(arguments == expected)
    }

    @Test func theEnvironmentIsTheImagesThenThePods() throws {
        let json = try specification { $0.environment = [("B", "3"), ("C", "4"), ("C", "5")] }.json
        #expect(
            json["process"]["env"].array?.compactMap(\.string) == [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=host", "A=1", "B=3",
                "C=5", "HOME=/root",
            ])
        #expect(json["process"]["cwd"].string == "/work")
    }

    @Test func theDefaultIsWhatContainerdGives() throws {
        let json = try specification().json
        #expect(
            json["process"]["capabilities"]["bounding"].array?.compactMap(\.string) == [
                "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
                "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE",
                "CAP_SETFCAP",
            ])
        #expect(json["linux"]["maskedPaths"].array?.contains("/proc/kcore") == true)
        #expect(json["linux"]["readonlyPaths"].array?.contains("/proc/sys") == true)
        #expect(json["linux"]["namespaces"] == [["type": "mount"], ["type": "network", "path": "/ns/net"]])
        #expect(json["linux"]["resources"]["devices"][0] == ["allow": false, "access": "rwm"])
        let mounts = json["mounts"].array ?? []
        #expect(
            mounts.compactMap { $0["destination"].string } == [
                "/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/sys/fs/cgroup", "/dev/shm",
            ])
        #expect(mounts[4]["options"].array?.contains("ro") == true)
    }

    @Test func privilegedContainersAreNotMasked() throws {
        let json = try specification { $0.security.privileged = true }.json
        #expect(json["process"]["capabilities"]["bounding"].array?.count == Capabilities.all.count)
        #expect(json["linux"]["maskedPaths"] == nil)
        #expect(json["linux"]["resources"]["devices"] == [["allow": true, "access": "rwm"]])
        #expect(json["mounts"][4]["options"].array?.contains("rw") == true)
    }

    @Test func mountsAreOrderedByDepthAndReplaceDefaults() throws {
        let json = try specification {
            $0.mounts = [
                Mount(source: "/b", destination: "/a/b", readOnly: true), Mount(source: "/a", destination: "/a"),
                Mount(source: "/mem", destination: "/dev/shm", propagation: .bidirectional),
            ]
        }.json
        let mounts = json["mounts"].array ?? []
        #expect(mounts.suffix(3).compactMap { $0["destination"].string } == ["/a", "/a/b", "/dev/shm"])
        #expect(mounts.filter { $0["destination"].string == "/dev/shm" }.count == 1)
        #expect(mounts[mounts.count - 2]["options"] == ["rbind", "rprivate", "ro"])
        #expect(json["linux"]["rootfsPropagation"].string == "rshared")
    }

    @Test func limitsAreWrittenInTheKernelsTerms() throws {
        let json = try specification {
            $0.resources = .kubernetes(
                cpuRequestMilli: 250, cpuLimitMilli: 500, memoryLimitBytes: 1 << 20, pidsLimit: 10)
        }.json
        let resources = json["linux"]["resources"]
        #expect(resources["cpu"] == ["shares": 256, "quota": 50000, "period": 100000])
        #expect(resources["memory"] == ["limit": 1_048_576])
        #expect(resources["pids"] == ["limit": 10])
    }

    @Test func capabilitiesAreAddedAndDropped() throws {
        func resolve(_ add: [String], _ drop: [String]) throws -> [String] {
            try Capabilities.resolve(
                ContainerSecurity(addCapabilities: add, dropCapabilities: drop), available: Set(Capabilities.all))
        }
        #expect(try resolve(["NET_ADMIN"], ["ALL"]) == ["CAP_NET_ADMIN"])
        #expect(try resolve([], ["net_raw"]).contains("CAP_NET_RAW") == false)
        #expect(try resolve(["ALL"], ["SYS_ADMIN"]).count == Capabilities.all.count - 1)
        #expect(throws: RuntimeError.self) { try resolve(["FLY"], []) }
        #expect(throws: RuntimeError.self) {
            try Capabilities.resolve(ContainerSecurity(addCapabilities: ["SYS_BOOT"]), available: [])
        }
    }

    @Test func theSystemCallFilterFollowsCapabilities() {
        func names(_ profile: JSON) -> Set<String> {
            Set(
                (profile["syscalls"].array ?? []).filter {
                    $0["action"].string == "SCMP_ACT_ALLOW" && $0["args"] == nil
                }
                .flatMap { $0["names"].array?.compactMap(\.string) ?? [] })
        }
        let usual = Seccomp.standard(capabilities: Capabilities.standard)
        #expect(usual["defaultAction"].string == "SCMP_ACT_ERRNO")
        #expect(names(usual).isSuperset(of: ["openat", "execve", "chroot", "futex", "statx"]))
        #expect(names(usual).isDisjoint(with: ["mount", "bpf", "reboot", "init_module", "keyctl", "clone", "unshare"]))
        #expect(names(Seccomp.standard(capabilities: ["CAP_SYS_ADMIN"])).isSuperset(of: ["mount", "clone", "setns"]))
    }

    @Test func usersAreFoundInTheImagesFiles() throws {
        let database = UserDatabase(
            passwd: "root:x:0:0:root:/root:/bin/sh\napp:x:100:101:App:/app:/bin/sh\nbroken\n",
            group: "root:x:0:\napps:x:101:\nextra:x:500:app,other\n")
        func find(_ user: String, _ change: (inout ContainerSecurity) -> Void = { _ in }) throws -> UserIdentity {
            var security = ContainerSecurity()
            change(&security)
            return try database.identity(image: user, security: security).identity
        }
        #expect(try find("") == UserIdentity(uid: 0, gid: 0, supplementalGroups: [0]))
        #expect(try find("app") == UserIdentity(uid: 100, gid: 101, supplementalGroups: [101, 500]))
        #expect(try find("app:extra").gid == 500)
        #expect(try find("7:8") == UserIdentity(uid: 7, gid: 8, supplementalGroups: [8]))
        #expect(try find("app") { $0.runAsUser = 9 } == UserIdentity(uid: 9, gid: 0, supplementalGroups: [0]))
        #expect(
            try find("") {
                $0.runAsUser = 100
                $0.runAsGroup = 3
                $0.supplementalGroups = [4]
                $0.fsGroup = 5
            } == UserIdentity(uid: 100, gid: 3, supplementalGroups: [3, 500, 4, 5]))
        #expect(throws: RuntimeError.self) { try find("nobody") }
        #expect(throws: RuntimeError.self) { try find("app:nogroup") }
        #expect(throws: RuntimeError.self) { try find("") { $0.runAsNonRoot = true } }
    }
}
