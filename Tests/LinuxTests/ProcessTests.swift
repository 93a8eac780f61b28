// SPDX-License-Identifier: Apache-2.0
import Glibc
@testable import Linux
import Testing

@Suite struct ProcessTests {
    @Test func givesOutputAndStatus() async throws {
        let spawner = ProcessSpawner("/bin/sh", ["-c", "echo out; echo err >&2; cat; exit 3"])
        let result = try await spawner.run(input: Array("in".utf8))
        #expect(result.text == "out\nin")
        #expect(result.errorText == "err\n")
        #expect(result.status == .exited(3))
    }

    @Test func largeOutputDoesNotBlock() async throws {
        let result = try await ProcessSpawner("/bin/sh", ["-c", "head -c 3000000 /dev/zero"]).run()
        #expect(result.output.count == 3_000_000)
        #expect(result.status.isSuccess)
    }

    @Test func namesTheStepThatFailed() throws {
        let error = try #require(throws: SpawnError.self) { _ = try ProcessSpawner("/no/such/program").spawn() }
        #expect(error.stage == .exec)
        #expect(error.errno.code == ENOENT)
        var spawner = ProcessSpawner("/bin/true")
        spawner.directory = "/no/such/folder"
        let second = try #require(throws: SpawnError.self) { _ = try spawner.spawn() }
        #expect(second.stage == .directory)
    }

    @Test func searchesPath() async throws {
        let result = try await ProcessSpawner("sh", ["-c", "echo $0"], environment: ["PATH": "/nowhere:/bin"]).run()
        #expect(result.status.isSuccess)
        let error = try #require(throws: SpawnError.self) {
            _ = try ProcessSpawner("no-such-program", environment: ["PATH": "/bin"]).spawn()
        }
        #expect(error.errno.code == ENOENT)
    }

    @Test func childHasOnlyItsDescriptors() async throws {
        let leak = try FileDescriptor.open("/dev/null", O_RDWR)
        let extra = try FileDescriptor.open("/dev/zero", O_RDONLY)
        // As a careless library would leave it.
        #expect(fcntl(leak.rawValue, F_SETFD, 0) == 0)
        var spawner = ProcessSpawner("/bin/sh", ["-c", "cd /proc/self/fd; exec readlink 7 0"])
        spawner.descriptors = [7: extra.rawValue]
        let result = try await spawner.run()
        #expect(result.text == "/dev/zero\n/dev/null\n")
        var lister = ProcessSpawner("/bin/sh", ["-c", "echo /proc/$$/fd/*"])
        lister.descriptors = [5: extra.rawValue]
        let list = try await lister.run()
        let names = list.text.split(whereSeparator: \.isWhitespace).compactMap { $0.split(separator: "/").last }
        // 3 is the folder that the shell itself is reading.
        #expect(names.map(String.init) == ["0", "1", "2", "3", "5"])
    }

    @Test func swappedDescriptorsArriveSwapped() async throws {
        let first = try FileDescriptor.inMemory(Array("first".utf8))
        let second = try FileDescriptor.inMemory(Array("second".utf8))
        var spawner = ProcessSpawner("/bin/sh", ["-c", "cat <&\(first.rawValue); cat <&\(second.rawValue)"])
        guard first.rawValue < 10, second.rawValue < 10 else {
            spawner = ProcessSpawner("/bin/sh", ["-c", "cat <&3; cat <&4"])
            spawner.descriptors = [3: second.rawValue, 4: first.rawValue]
            #expect(try await spawner.run().text == "secondfirst")
            return
        }
        spawner.descriptors = [first.rawValue: second.rawValue, second.rawValue: first.rawValue]
        #expect(try await spawner.run().text == "secondfirst")
    }

    @Test func signalsEndIt() async throws {
        let process = try ProcessSpawner("/bin/sleep", ["1000"]).spawn()
        #expect(process.exitStatus == nil)
        try process.signal(SIGKILL)
        #expect(await process.wait() == .signalled(SIGKILL))
        #expect(await process.wait() == .signalled(SIGKILL))
        try process.signal(SIGTERM)
    }

    @Test func childHasDefaultSignals() async throws {
        signal(SIGPIPE, SIG_IGN)
        let result = try await ProcessSpawner("/bin/sh", ["-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status"]).run()
        let sets = result.text.split(separator: "\n").map { UInt64($0.suffix(16), radix: 16) }
        // Signals 32 and 33 are glibc's own: nobody can set them, and some launchers of tests leave one ignored.
        #expect(sets.map { $0.map { $0 & ~(3 << 31) } } == [0, 0])
    }

    @Test func newSessionAndDeathSignal() async throws {
        var spawner = ProcessSpawner("/bin/sh", ["-c", "cut -d' ' -f 1,5,6 /proc/$$/stat"])
        spawner.newSession = true
        spawner.parentDeathSignal = SIGKILL
        let fields = try await spawner.run().text.split(whereSeparator: \.isWhitespace)
        #expect(fields.count == 3 && fields[0] == fields[1] && fields[1] == fields[2])
    }

    @Test func manyAtOnce() async throws {
        let codes = try await withThrowingTaskGroup(of: Int32.self) { group in
            for index in 0..<40 {
                group.addTask { try await ProcessSpawner("/bin/sh", ["-c", "exit \(index)"]).run().status.code }
            }
            return try await group.reduce(into: Set<Int32>()) { $0.insert($1) }
        }
        #expect(codes == Set(0..<40))
    }

    @Test(.enabled(if: geteuid() == 0)) func orphansAreGivenAndReaped() async throws {
        try Subreaper.enable()
        // The shell ends at once; its child is an orphan that waits for a byte.
        let gate = try FileDescriptor.pipe().take()
        var spawner = ProcessSpawner("/bin/sh", ["-c", "(read x <&3; exit 7) >/dev/null 2>&1 & echo $!"])
        spawner.descriptors[3] = gate.read
        let result = try await spawner.run()
        close(gate.read)
        let pid = try #require(Int32(result.text.prefix { !$0.isNewline }))
        let orphan = try ChildProcess.adopt(pid)
        try FileDescriptor.write(gate.write, Array("x\n".utf8))
        close(gate.write)
        #expect(await orphan.wait() == .exited(7))
        #expect(kill(pid, 0) == -1 && errno == ESRCH)
    }

    @Test(.enabled(if: geteuid() == 0)) func entersNamespacesBeforeExec() async throws {
        let folder = try TemporaryFolder()
        let net = "\(folder.path)/net"
        let uts = "\(folder.path)/uts"
        try Namespaces.createPinned([.net: net, .uts: uts]) {
            _ = sethostname("catbird-test", 12)
        }
        var spawner = ProcessSpawner(
            "/bin/sh", ["-c", "hostname; ls /proc/net/dev_snmp6 /proc/self/ns >/dev/null; cat /proc/net/dev | wc -l"])
        spawner.namespaces = Namespaces.Target(net: .path(net), uts: .path(uts))
        let result = try await spawner.run()
        #expect(result.text.split(separator: "\n").first == "catbird-test")
        let inside = try Namespaces.inNamespaces(net: .path(net)) {
            try NamespaceRef.path("/proc/thread-self/ns/net").identity(.net)
        }
        #expect(try inside == NamespaceRef.path(net).identity(.net))
        #expect(try inside != NamespaceRef.pid(getpid()).identity(.net))
        try Namespaces.unpin(net)
        try Namespaces.unpin(net)
        try Namespaces.unpin(uts)
        #expect(!Files.exists(net))
    }

    @Test(.enabled(if: geteuid() == 0)) func mountNamespaceIsPinnedFromOutside() async throws {
        let folder = try TemporaryFolder()
        let mnt = "\(folder.path)/mnt"
        let inner = "\(folder.path)/inner"
        try Files.makeDirectories(inner)
        try Namespaces.createPinned([.mount: mnt]) {
            try Mounts.tmpfs(onto: inner)
            try Files.replace("\(inner)/file", with: "inside".utf8)
        }
        #expect(Namespaces.isPinned(mnt))
        #expect(!Files.exists("\(inner)/file"))
        let text = try Namespaces.inNamespaces(mount: .path(mnt)) { try Files.text("\(inner)/file") }
        #expect(text == "inside")
        var spawner = ProcessSpawner("/bin/cat", ["\(inner)/file"])
        spawner.namespaces.mount = .path(mnt)
        #expect(try await spawner.run().text == "inside")
        try Namespaces.unpin(mnt)
        #expect(!Namespaces.isPinned(mnt))
    }

    /// Numbers of mount namespaces come from stores of the processors' own: on one way of two the inner one has the
    /// smaller number.
    @Test(.enabled(if: geteuid() == 0)) func mountNamespaceIsPinnedFromOneOfAnotherProcessor() throws {
        let folder = try TemporaryFolder()
        let processors = try #require(ThreadProcessors.current()).single
        for outer in processors.prefix(4) {
            for inner in processors.prefix(4) {
                let isPinned = try OwnThread.run {
                    try outer.apply()
                    try Namespaces.unshare([.mount])
                    try inner.apply()
                    let path = "\(folder.path)/mnt"
                    try Namespaces.createPinned([.mount: path])
                    defer { try? Namespaces.unpin(path) }
                    return Namespaces.isPinned(path)
                }
                #expect(isPinned)
            }
        }
    }
}
