// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import Linux
import Testing
import Values

@Suite(.enabled(if: geteuid() == 0), .serialized) struct RuntimeRootTests {
    @Test func aContainerRunsLogsAndEnds() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        let sandbox = try await runtime.createSandbox(fixture.sandbox())
        #expect(sandbox.state == .ready)
        let id = try await runtime.createContainer(
            fixture.container("echo out; echo err >&2; echo done > /dev/termination-log; hostname; id -u; exit 7") {
                $0.terminationMessagePath = "/dev/termination-log"
                $0.environment = [("A", "b")]
            })
        #expect(runtime.container(id)?.state == .created)
        try await runtime.startContainer(id)
        let status = try await fixture.exit(runtime, id)
        #expect(status.exitCode == 7)
        #expect(status.finishedAt != nil && status.startedAt != nil)
        #expect(status.imageID == fixture.busybox.id)
        let log = try fixture.log()
        #expect(log.contains("stdout F out"))
        #expect(log.contains("stderr F err"))
        #expect(try Files.text(try #require(status.terminationMessageFile)) == "done\n")
        try await runtime.removeContainer(id)
        #expect(runtime.container(id) == nil)
        try await fixture.tearDown(runtime)
    }

    @Test func execRunsCommandsWithStreamsAndExitCodes() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let id = try await runtime.createContainer(
            fixture.container("trap 'exit 3' TERM; while :; do sleep 100 & wait $!; done") {
                $0.environment = [("COLOUR", "green")]
            })
        try await runtime.startContainer(id)

        let session = try await runtime.exec(
            id, command: ["/bin/sh", "-c", "echo $COLOUR; echo e >&2; cat; exit 5"], stdin: true)
        try await session.writeStdin(Array("in".utf8))
        await session.closeStdin()
        async let errors = text(session.stderr)
        #expect(await text(session.stdout) == "green\nin")
        #expect(await errors == "e\n")
        #expect(try await session.exitCode() == 5)

        // What a command says comes while it runs.
        let early = try await runtime.exec(
            id, command: ["/bin/sh", "-c", "echo soon >&2; read x; echo $x"], stdin: true)
        var iterator = early.stderr.makeAsyncIterator()
        #expect(await iterator.next().map { String(decoding: $0, as: UTF8.self) } == "soon\n")
        try await early.writeStdin(Array("later\n".utf8))
        #expect(await text(early.stdout) == "later\n")
        // Why a command cannot be run is told once: by its outcome, not on its streams as well.
        let missing = try await runtime.exec(id, command: ["/nowhere/nosuch"])
        var noise: [UInt8] = []
        for await bytes in missing.stdout { noise += bytes }
        for await bytes in missing.stderr { noise += bytes }
        #expect(noise.isEmpty, "\(String(decoding: noise, as: UTF8.self))")
        let refusal = await #expect(throws: RuntimeError.self) { try await missing.exitCode() }
        #expect(refusal?.message.contains("nosuch") == true)
        let terminal = try await runtime.exec(
            id, command: ["/bin/sh", "-c", "tty; stty size; read x; echo got $x"], tty: true, stdin: true)
        await terminal.resize(columns: 77, rows: 33)
        try await terminal.writeStdin(Array("line\n".utf8))
        let shown = await text(terminal.stdout)
        #expect(shown.contains("/dev/pts/"))
        #expect(shown.contains("got line"))
        #expect(try await terminal.exitCode() == 0)

        let (code, output) = try await runtime.execSync(id, command: ["/bin/sh", "-c", "echo probe; exit 1"])
        #expect(code == 1)
        #expect(String(decoding: output, as: UTF8.self) == "probe\n")
        await #expect(throws: RuntimeError.self) {
            _ = try await runtime.execSync(id, command: ["/no/such/program"])
        }
        await #expect(throws: RuntimeError.self) {
            _ = try await runtime.execSync(id, command: ["sleep", "1000"], timeoutSeconds: 1)
        }

        try await runtime.stopContainer(id, timeoutSeconds: 20)
        #expect(runtime.container(id)?.exitCode == 3)
        await #expect(throws: RuntimeError.self) { _ = try await runtime.exec(id, command: ["true"]) }
        try await fixture.tearDown(runtime)
    }

    @Test func attachJoinsTheStreams() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let id = try await runtime.createContainer(
            fixture.container("while read line; do echo heard $line; done; exit 4") {
                $0.stdin = true
                $0.stdinOnce = true
            })
        let session = try await runtime.attach(id)
        try await runtime.startContainer(id)
        try await session.writeStdin(Array("one\n".utf8))
        await session.closeStdin()
        #expect(await text(session.stdout) == "heard one\n")
        #expect(try await session.exitCode() == 4)
        try await fixture.tearDown(runtime)
    }

    @Test func aNewInstanceFindsWhatRunsAndHowTheRestEnded() async throws {
        let fixture = try await RuntimeFixture()
        var first: Runtime? = try Runtime(fixture.configuration)
        _ = try await first?.createSandbox(fixture.sandbox())
        let running = try #require(try await first?.createContainer(fixture.container("sleep 1000", name: "a")))
        let ending = try #require(
            try await first?.createContainer(fixture.container("read x; exit 9", name: "b") { $0.stdin = true }))
        let waiting = try #require(try await first?.createContainer(fixture.container("exit 0", name: "w")))
        try await first?.startContainer(running)
        try await first?.startContainer(ending)
        let input = try #require(try await first?.attach(ending))
        first = nil
        try await input.writeStdin(Array("x\n".utf8))
        _ = await text(input.stdout)

        let second = try Runtime(fixture.configuration)
        #expect(second.sandboxes().map(\.state) == [.ready])
        #expect(second.container(running)?.state == .running)
        #expect(second.container(waiting)?.state == .created)
        #expect(try await fixture.exit(second, ending).exitCode == 9)
        try await second.startContainer(waiting)
        #expect(try await fixture.exit(second, waiting).exitCode == 0)
        #expect(try await second.execSync(running, command: ["true"]).exitCode == 0)
        try await second.stopContainer(running, timeoutSeconds: 0)
        #expect(second.container(running)?.exitCode == 137)
        try await fixture.tearDown(second)
    }

    @Test func aKilledMonitorEndsItsContainer() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let id = try await runtime.createContainer(fixture.container("sleep 1000"))
        try await runtime.startContainer(id)
        let pid = try Files.text("\(fixture.configuration.stateDirectory)/c/\(id.prefix(32))/conmon.pid")
        kill(try #require(Int32(pid)), SIGKILL)
        let status = try await fixture.exit(runtime, id)
        #expect(status.exitCode == 137)
        #expect(status.message.contains("conmon"))
        try await fixture.tearDown(runtime)
    }

    @Test func logsGoToANewFileAfterRotation() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let id = try await runtime.createContainer(
            fixture.container("echo one; while read x; do echo $x; done") { $0.stdin = true })
        let session = try await runtime.attach(id)
        try await runtime.startContainer(id)
        var output = session.stdout.makeAsyncIterator()
        _ = await output.next()
        let log = fixture.scratch.path + "/logs/c.log"
        rename(log, log + ".1")
        try await runtime.reopenLog(id)
        try await session.writeStdin(Array("two\n".utf8))
        _ = await output.next()
        #expect(try fixture.log() == ["stdout F two"])
        try await fixture.tearDown(runtime)
    }

    @Test func usersMountsAndLimitsReachTheContainer() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let hosts = try fixture.scratch.write("hosts", "10.0.0.1 web\n")
        let id = try await runtime.createContainer(
            fixture.container(
                "id; cat /etc/hosts; touch /x 2>&1; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; grep Seccomp: /proc/self/status; ls /proc/kcore; wc -c < /proc/kcore; mkdir /sys/x; unshare -r true"
            ) {
                $0.mounts = [Mount(source: hosts, destination: "/etc/hosts", readOnly: true)]
                $0.security.runAsUser = 1000
                $0.security.runAsGroup = 2000
                $0.security.fsGroup = 3000
                $0.security.readOnlyRootFilesystem = true
                $0.security.noNewPrivileges = true
                $0.resources = .kubernetes(
                    cpuRequestMilli: 100, cpuLimitMilli: 500, memoryLimitBytes: 64 << 20, pidsLimit: 100)
            })
        let cgroup = try #require(runtime.container(id)).cgroupPath
        if let folder = try CgroupLayout.detect().path(of: cgroup, controller: "pids") {
            #expect(try Files.text(folder + "/pids.max") == "100\n")
        }
        try await runtime.startContainer(id)
        _ = try await fixture.exit(runtime, id)
        let log = try fixture.log().joined(separator: "\n")
        #expect(log.contains("uid=1000 gid=2000 groups=2000,3000"))
        #expect(log.contains("10.0.0.1 web"))
        #expect(log.contains("Read-only file system"))
        #expect(log.contains("CapEff:\t0000000000000000"))
        #expect(log.contains("NoNewPrivs:\t1"))
        #expect(log.contains("Seccomp:\t2"))
        #expect(log.contains("can't create directory '/sys/x'"))
        try await fixture.tearDown(runtime)
    }

    @Test func aContainerThatTakesTooMuchMemoryIsMarked() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let id = try await runtime.createContainer(
            fixture.container("tail /dev/zero") { $0.resources.memoryLimitBytes = 16 << 20 })
        try await runtime.startContainer(id)
        let status = try await fixture.exit(runtime, id)
        #expect(status.oomKilled)
        #expect(status.exitCode == 137)
        try await fixture.tearDown(runtime)
    }

    @Test func whatCannotRunSaysWhyAndLeavesNothing() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let missing = await #expect(throws: RuntimeError.self) {
            let id = try await runtime.createContainer(fixture.container("") { $0.command = ["/no/such"] })
            try await runtime.startContainer(id)
        }
        #expect(missing?.message.contains("/no/such") == true)
        let root = await #expect(throws: RuntimeError.self) {
            try await runtime.createContainer(fixture.container("true") { $0.security.runAsNonRoot = true })
        }
        #expect(root?.message.contains("runAsNonRoot") == true)
        let volume = await #expect(throws: RuntimeError.self) {
            try await runtime.createContainer(
                fixture.container("true") { $0.mounts = [Mount(source: "/no/volume", destination: "/v")] })
        }
        #expect(volume?.message.contains("/no/volume") == true)
        try await fixture.tearDown(runtime)
    }

    @Test func aContainerWhoseMakingWasInterruptedIsThrownAway() async throws {
        let fixture = try await RuntimeFixture()
        var first: Runtime? = try Runtime(fixture.configuration)
        _ = try await first?.createSandbox(fixture.sandbox())
        let id = try #require(try await first?.createContainer(fixture.container("sleep 1000")))
        let pid = try #require(first?.container(id)?.pid)
        first = nil
        // As if the instance had been killed before it could note what conmon answered.
        let record = "\(fixture.configuration.persistentDirectory)/containers/\(id.prefix(32))/container.json"
        var json = try JSON(parsing: Files.read(record))
        json["phase"] = "creating"
        for member in ["pid", "conmonPid", "conmonStarted", "pidStarted"] { json[member] = nil }
        try Files.replace(record, with: json.serialized())
        let second = try Runtime(fixture.configuration)
        #expect(second.containers().isEmpty)
        try await fixture.tearDown(second)
        #expect(!Files.exists("/proc/\(pid)/root"))
    }

    @Test func manyLayersAreMounted() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        var image = fixture.busybox
        for number in 0..<120 {
            let layer = "\(fixture.scratch.path)/a-layer-with-a-long-name-as-digests-are-\(number)"
            try Files.makeDirectories(layer)
            try Files.touch("\(layer)/file-\(number)")
            try Files.replace("\(layer)/last", with: "\(number)".utf8, durable: false)
            image.layerPaths.append(layer)
        }
        let many = image
        let id = try await runtime.createContainer(
            fixture.container("ls / | grep -c file-; echo $(cat /last)") { $0.image = many })
        try await runtime.startContainer(id)
        #expect(try await fixture.exit(runtime, id).exitCode == 0)
        #expect(try fixture.log() == ["stdout F 120", "stdout F 119"])
        try await fixture.tearDown(runtime)
    }

    @Test func privilegedContainersSeeTheMachinesDevices() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox())
        let id = try await runtime.createContainer(
            fixture.container(
                "ls /dev | wc -l; mount -t tmpfs none /mnt && echo mounted; grep Seccomp: /proc/self/status"
            ) {
                $0.security.privileged = true
            })
        try await runtime.startContainer(id)
        #expect(try await fixture.exit(runtime, id).exitCode == 0)
        #expect(try fixture.log().suffix(2) == ["stdout F mounted", "stdout F Seccomp:\t0"])
        try await fixture.tearDown(runtime)
    }

    @Test func aPodsContainersShareProcessesWhenAsked() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        _ = try await runtime.createSandbox(fixture.sandbox { $0.shareProcessNamespace = true })
        let a = try await runtime.createContainer(fixture.container("sleep 4321", name: "a"))
        let b = try await runtime.createContainer(fixture.container("sleep 1234", name: "b"))
        try await runtime.startContainer(a)
        try await runtime.startContainer(b)
        let (_, output) = try await runtime.execSync(b, command: ["ps"])
        #expect(String(decoding: output, as: UTF8.self).contains("sleep 4321"))
        #expect(runtime.containers().count == 2)
        try await fixture.tearDown(runtime)
    }
}

/// Sandboxes with namespaces of their own, joined to a network by plugins that are shell scripts.
@Suite(.enabled(if: geteuid() == 0), .serialized) struct SandboxRootTests {
    private static let result =
        #"{"cniVersion":"1.0.0","ips":[{"address":"10.9.8.7/32"}],"dns":{}}"#

    private func network(_ fixture: RuntimeFixture, add: String = "echo '\(result)'") throws {
        _ = try fixture.scratch.write(
            "net.d/10-test.conflist", #"{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"script"}]}"#)
        _ = try fixture.scratch.write(
            "bin/script",
            "#!/bin/sh\necho \"$CNI_COMMAND $CNI_ARGS\" >> \(fixture.scratch.path)/calls\n[ $CNI_COMMAND = ADD ] || exit 0\nip netns list-id >/dev/null 2>&1\nnsenter --net=$CNI_NETNS ip addr add 10.9.8.7/32 dev lo || exit 9\n\(add)\n",
            mode: 0o755)
    }

    @Test func aSandboxHasItsOwnNetworkNamesAndSysctls() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        #expect(runtime.networkReady().ready == false)
        let events = runtime.events()
        try network(fixture)
        for await event in events where event == .networkChanged && runtime.networkReady().ready { break }
        let sandbox = try await runtime.createSandbox(
            fixture.sandbox {
                $0.hostNetwork = false
                $0.hostname = "pod-name"
                $0.sysctls = ["net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"]
            })
        #expect(sandbox.ips.map(\.description) == ["10.9.8.7"])
        let path = try #require(sandbox.netnsPath)
        #expect(Namespaces.isPinned(path))
        let id = try await runtime.createContainer(
            fixture.container(
                "hostname; ip -o addr show lo; cat /proc/sys/net/ipv4/ip_forward; echo shared > /dev/shm/x; df -k /dev/shm | tail -1"
            ))
        try await runtime.startContainer(id)
        #expect(try await fixture.exit(runtime, id).exitCode == 0)
        let log = try fixture.log().joined(separator: "\n")
        #expect(log.contains("stdout F pod-name"))
        #expect(log.contains("127.0.0.1/8"))
        #expect(log.contains("10.9.8.7/32"))
        #expect(log.contains("stdout F 1\n"))
        #expect(log.contains("65536"))
        let second = try await runtime.createContainer(fixture.container("cat /dev/shm/x", name: "d"))
        try await runtime.startContainer(second)
        _ = try await fixture.exit(runtime, second)
        #expect(try fixture.log("d") == ["stdout F shared"])

        try await runtime.removeSandbox("s1")
        try await runtime.removeSandbox("s1")
        #expect(!Files.exists(path))
        let calls = try Files.text(fixture.scratch.path + "/calls").split(separator: "\n").map(String.init)
        #expect(
            calls
                == ["ADD", "DEL"].map {
                    "\($0) IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=s1;K8S_POD_UID=uid-s1"
                })
        try await fixture.tearDown(runtime)
    }

    @Test func aSandboxThatGetsNoNetworkLeavesNothing() async throws {
        let fixture = try await RuntimeFixture()
        let runtime = try Runtime(fixture.configuration)
        try network(fixture, add: #"echo '{"cniVersion":"1.0.0","code":11,"msg":"no pool"}'; exit 1"#)
        let error = await #expect(throws: RuntimeError.self) {
            _ = try await runtime.createSandbox(fixture.sandbox { $0.hostNetwork = false })
        }
        #expect(
            error?.message == "failed to setup network for sandbox \"s1\": plugin type=\"script\" failed (add): no pool"
        )
        #expect(runtime.sandboxes().isEmpty)
        #expect(try Files.list(fixture.configuration.stateDirectory + "/sandboxes").isEmpty)
        try await fixture.tearDown(runtime)
    }

    @Test func aSandboxWhoseMakingWasInterruptedIsNotReadyAndCanBeRemoved() async throws {
        let fixture = try await RuntimeFixture()
        var runtime = try Runtime(fixture.configuration)
        try network(fixture)
        _ = try await runtime.createSandbox(fixture.sandbox { $0.hostNetwork = false })
        // As after a restart of the machine: the namespaces are gone.
        try Namespaces.unpin(try #require(runtime.sandbox("s1")?.netnsPath))
        runtime = try Runtime(fixture.configuration)
        #expect(runtime.sandbox("s1")?.state == .notReady)
        await #expect(throws: RuntimeError.self) { try await runtime.createContainer(fixture.container("true")) }
        try await runtime.removeSandbox("s1")
        try await fixture.tearDown(runtime)
    }
}
