// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux

extension NodeNamespaces {
    /// Which process is the node's first, as the host counts.
    var initFile: String { "\(runFolder)/init" }

    /// Mounts /proc, says so, and then does what the first process of a machine does: it asks how those ended that nobody
    /// else asks about. Busybox's shell waits for all children, also for those that it did not start.
    private static let script = """
        mount -t proc -o nosuid,nodev,noexec proc /proc || exit 1
        echo ready
        exec </dev/null >/dev/null 2>&1
        trap : HUP INT TERM
        while :; do sleep 1000000000 & wait $!; done
        """

    /// Starts the node's first process. The process namespace is its own, and ends with it: so the node's processes do
    /// not see those of the host, and none of them outlives it.
    func startInit() async throws {
        guard let busybox = HostEnvironment.find("busybox") else {
            throw Errno(code: ENOENT, call: "exec", detail: "busybox (apt-get install busybox-static)")
        }
        var spawner = ProcessSpawner(busybox, ["sh", "-c", Self.script], environment: Self.environment)
        spawner.namespaces = Namespaces.Target(net: net, mount: .path(pin(.mount)), uts: .path(pin(.uts)))
        spawner.newProcessNamespace = true
        spawner.newSession = true
        spawner.cgroup = processCgroup
        spawner.directory = "/"
        spawner.umask = 0o022
        let pipe = try FileDescriptor.pipe().take()
        let reader = FileDescriptor(owning: pipe.read)
        let child: ChildProcess
        do {
            defer { close(pipe.write) }
            spawner.descriptors = [1: pipe.write, 2: pipe.write]
            child = try spawner.spawn()
        }
        let fd = reader.rawValue
        let answer = try await OwnThread.run(awaiting: { try FileDescriptor.read(fd, upTo: 1024) })
        _ = consume reader
        guard answer.starts(with: "ready".utf8), let record = ProcessRecord(pid: child.pid) else {
            try? child.signal(SIGKILL)
            _ = await child.wait()
            let words = String(decoding: answer, as: UTF8.self).split(separator: "\n").first ?? "it said nothing"
            throw LocalClusterError(
                .guestError, "The first process of node \(configuration.name) could not mount /proc: \(words)")
        }
        try Namespaces.pin(.pid(child.pid), .pid, at: pin(.pid))
        try record.write(to: initFile)
        // Whoever is its parent then learns how it ended; a supervisor that is started anew is not.
        Task { _ = await child.wait() }
    }
}
