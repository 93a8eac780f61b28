// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

/// Pods that mean harm, on a cluster that was started by somebody with unusual surroundings. In the suite of the others:
/// what one leaves is held against the machine, so there is one at a time.
extension LifecycleTests {
    private func create(_ name: String, _ spec: String, on cluster: TestCluster) async throws {
        let file = "\(cluster.folder)/\(name).json"
        let pod = #"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"\#(name)"},"spec":\#(spec)}"#
        try Files.replace(file, with: pod.utf8, durable: false)
        try await cluster.kubectl("create", "-f", file)
    }

    /// The log of a pod that runs `script` to its end.
    private func outcome(
        _ name: String, _ script: String, mounts: String = "[]", volumes: String = "[]", more: String = "",
        security: String = "{}", on cluster: TestCluster
    ) async throws -> String {
        let words = script.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
        try await create(
            name,
            """
            {"restartPolicy":"Never","terminationGracePeriodSeconds":1,\(more)"volumes":\(volumes),"containers":[{
            "name":"c","image":"catbird/lab-frontend","command":["sh","-c","\(words)"],"volumeMounts":\(mounts),
            "securityContext":\(security)}]}
            """, on: cluster)
        try await cluster.kubectl(
            "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/\(name)", "--timeout=90s")
        return try await cluster.kubectl("logs", name)
    }

    @Test func surroundingsDoNotLeakAndNamesAreBytes() async throws {
        try await withCluster("hostile") { cluster in
            try await cluster.startIn("umask 077; ulimit -S -n 200; ulimit -S -f 4096; export TMPDIR=/none; nice -n 7")
            try await cluster.kubectl("create", "configmap", "c", "--from-literal=k=v")
            let seen = try await outcome(
                "reader",
                """
                cat /etc/hosts /etc/resolv.conf /c/k /var/run/secrets/kubernetes.io/serviceaccount/token >/dev/null || exit 1
                umask; ulimit -f; cut -d' ' -f19 /proc/self/stat; env | grep -c TMPDIR || true
                """,
                mounts: #"[{"name":"c","mountPath":"/c"}]"#, volumes: #"[{"name":"c","configMap":{"name":"c"}}]"#,
                security: #"{"runAsUser":1000,"runAsGroup":3000}"#, on: cluster)
            #expect(seen == "0022\nunlimited\n0\n0\n")
            for process in ["supervisor", "guard", "controlplane", "node-\(cluster.profile)"] {
                let pid = try cluster.process(process)
                #expect(try Files.text("/proc/\(pid)/status").contains("Umask:\t0022"), "\(process)")
                #expect(try Files.target(ofLink: "/proc/\(pid)/cwd") == "/", "\(process)")
                #expect(try !Files.text("/proc/\(pid)/environ").contains("TMPDIR"), "\(process)")
            }

            // Names that are no text, in the pod's root and in a volume; folders deeper than a path can name.
            let nest = Array(repeating: "a", count: 1000).joined(separator: "/")
            let script = """
                cd /e; touch "$(printf 'bad\\377name')" "/$(printf 'bad\\377name')"; mkdir "$(printf 'x\\377')"
                for i in 1 2 3 4 5; do mkdir -p \(nest) && cd -P \(nest) 2>/dev/null; done; mkdir end && echo nested
                """
            let volume = (#"[{"name":"e","mountPath":"/e"}]"#, #"[{"name":"e","emptyDir":{}}]"#)
            for name in ["first", "second"] {
                let text = try await outcome(name, script, mounts: volume.0, volumes: volume.1, on: cluster)
                #expect(text.hasSuffix("nested\n"))
            }
            try await cluster.kubectl("delete", "pod", "first", "--timeout=60s")
            // The second is left to `delete`.
        }
    }

    @Test func whatAPodReachesOfTheMachine() async throws {
        try await withCluster("reach") { cluster in
            let listener = try MachineListener()
            try await cluster.catbird("start", "--nodes", "1")
            let plan = try await cluster.nodes()
            let own =
                plan.split(separator: " ").last.map { $0.split(separator: ".").prefix(3).joined(separator: ".") } ?? ""
            let hostPath = { (path: String) in #"[{"name":"h","hostPath":{"path":"\#(path)"}}]"# }
            let mount = #"[{"name":"h","mountPath":"/h"}]"#
            let script = """
                try() { "$@" 2>/dev/null && echo "did: $*" || echo no; }
                try sh -c 'cat /h/proc/sys/kernel/core_pattern >/tmp/was && cat /tmp/was >/h/proc/sys/kernel/core_pattern'
                try sh -c 'cat /h/proc/sys/kernel/panic >/tmp/was && cat /tmp/was >/h/proc/sys/kernel/panic'
                try touch /h/var/lib/catbird/images/layers/evil
                try chmod 666 /h/dev/null
                try touch /h/sys/fs/cgroup/cpu/evil
                try mkdir /h/sys/fs/cgroup/pids/evil
                try touch /h/usr/evil
                touch /h/var/lib/mine && echo yes
                """
            let plain = try await outcome("plain", script, mounts: mount, volumes: hostPath("/"), on: cluster)
            #expect(plain == String(repeating: "no\n", count: 7) + "yes\n")
            // Through a link that another pod left on the node.
            _ = try await outcome(
                "linker", "ln -s /proc /h/tmp/way", mounts: mount, volumes: hostPath("/"), on: cluster)
            // What is tried would change nothing of the machine if it worked: each setting is written as it is.
            let rewrite = "cat /h/$1 >/tmp/was && cat /tmp/was 2>/dev/null >/h/$1 && echo did || echo no"
            for (name, path, file) in [
                ("linked", "/tmp/way", "sys/kernel/core_pattern"), ("direct", "/proc", "sys/kernel/core_pattern"),
                ("deeper", "/proc/sys/kernel", "core_pattern"),
            ] {
                let text = try await outcome(
                    name, "set -- \(file); \(rewrite)", mounts: mount, volumes: hostPath(path), on: cluster)
                #expect(text.split(separator: "\n").contains("no"), "\(path): \(text)")
            }

            // The machine's processes are not the node's; its first one leads to the node's root, not the machine's.
            let processes = try await outcome(
                "privileged", "ls /proc/1/root/var/lib/catbird; cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
                more: #""hostPID":true,"#, security: #"{"privileged":true}"#, on: cluster)
            #expect(processes.hasPrefix("images\n"))
            #expect(processes.contains("catbird node --name"))
            #expect(!processes.contains("supervise") && !processes.contains("controlplane"))

            // What listens on all of the machine's addresses.
            for (name, more) in [("net", ""), ("hostnet", #""hostNetwork":true,"#)] {
                let answer = try await outcome(
                    name, "echo | nc -w 3 \(own).1 \(listener.port) && echo reached || echo no", more: more, on: cluster
                )
                #expect(answer.split(separator: "\n").contains("no"), "\(answer)")
            }
            try await cluster.open(port: listener.port)
            let allowed = try await outcome(
                "allowed", "echo | nc -w 3 \(own).1 \(listener.port) && echo reached || echo no", on: cluster)
            #expect(allowed.hasSuffix("reached\n"), "\(allowed)")

            // Links that pods have left in the node's root are nobody's way onto the machine, at the next boot least of all.
            let victim = "\(cluster.folder)/victim"
            try Files.makeDirectories("\(victim)/cni/net.d")
            try Files.replace("\(victim)/hosts", with: "the machine's".utf8, durable: false)
            _ = try await outcome(
                "mover", "mv /h/etc /h/etc-was && ln -s \(victim) /h/etc && echo moved", mounts: mount,
                volumes: hostPath("/"), on: cluster)
            try await cluster.catbird("node", "stop", cluster.profile)
            try await cluster.catbird("node", "start", cluster.profile)
            #expect(try Files.text("\(victim)/hosts") == "the machine's")
            #expect(try Files.list(victim).map(\.name) == ["cni", "hosts"])
            #expect(Files.exists("\(victim)/cni/net.d"))
            let root = "/var/lib/catbird/\(cluster.profile)/nodes/\(cluster.profile)/root"
            #expect(Files.kind("\(root)/etc") == .directory)
        }
    }

    /// A node's process is killed while pods go; what they leave is found by what is there, not by what is remembered.
    @Test func whatGonePodsLeaveGoesAway() async throws {
        try await withCluster("orphans") { cluster in
            try await cluster.catbird("start", "--nodes", "1")
            try await cluster.deploy()
            let root = "/var/lib/catbird/\(cluster.profile)/nodes/\(cluster.profile)/root"
            let node = "node-\(cluster.profile)"
            let uids = Set(
                try await cluster.pods().split(separator: "\n").compactMap {
                    $0.split(separator: " ").dropFirst().first
                })
            #expect(uids.count == 2)
            // Things that no record tells of: as a kill between two steps, or a lost record, leaves them.
            let ghost = "00000000-1111-2222-3333-444444444444"
            let group = "/catbird/\(cluster.profile)/\(cluster.profile)/kubepods/besteffort/pod\(ghost)"
            try await cluster.crash(node)
            let old = try cluster.process(node)
            kill(old, SIGSTOP)
            try await cluster.kubectl(
                "delete", "deployment", "web", "--cascade=foreground", "--wait=false")
            try await cluster.kubectl(
                "delete", "pods", "-l", "app=web", "--force", "--grace-period=0", "--wait=false")
            try CgroupLayout.detect().create(group)
            try await cluster.ssh(
                """
                cd /run/catbird-runtime/sandboxes && mkdir -p \(ghost)-0/shm && mount -t tmpfs shm \(ghost)-0/shm \
                && touch \(ghost)-0/net && mount --bind /proc/self/ns/net \(ghost)-0/net \
                && mkdir -p /var/log/pods/default_ghost_\(ghost)/c /var/lib/kubelet/pods/\(ghost)/volumes \
                && rm /var/lib/catbird-runtime/sandboxes/\(uids.first ?? "")-*.json
                """)
            kill(old, SIGKILL)
            let names = uids.map(String.init) + [ghost]
            // Nothing tells from outside when a kubelet is done with looking; the wait has an end of its own.
            var left: [String] = []
            for _ in 0..<300 {
                left = try leftovers(of: names, cluster: cluster, root: root)
                if left.isEmpty { break }
                try await Task.sleep(for: .milliseconds(100))
            }
            #expect(left == [])
        }
    }

    private func leftovers(of uids: [String], cluster: TestCluster, root: String) throws -> [String] {
        var found: [String] = []
        let mounts = try Files.text("/proc/\(cluster.initProcess())/mountinfo")
        let groups = try CgroupLayout.detect()
        let kubepods = "/catbird/\(cluster.profile)/\(cluster.profile)/kubepods"
        for uid in uids {
            if mounts.contains(uid) { found.append("mounts of \(uid)") }
            for parent in ["", "/burstable", "/besteffort"] where groups.exists("\(kubepods)\(parent)/pod\(uid)") {
                found.append("group of \(uid)")
            }
            for folder in ["var/log/pods", "var/lib/kubelet/pods", "var/log/containers"] {
                let names = try Files.list("\(root)/\(folder)").map(\.name)
                found += names.filter { $0.contains(uid) }.map { "\(folder)/\($0)" }
            }
        }
        return found
    }
}

/// Something that listens on all addresses of the machine, and hangs up on everybody.
private final class MachineListener: Sendable {
    let port: UInt16
    private let socket: Int32

    init() throws {
        let opened = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(opened, $0, size) == 0 && listen(opened, 16) == 0 && getsockname(opened, $0, &size) == 0
            }
        }
        guard opened >= 0, isBound else { throw Errno("bind") }
        socket = opened
        port = UInt16(bigEndian: address.sin_port)
        // Ends when the socket is shut down.
        Task.detached {
            try await OwnThread.run(awaiting: {
                while true {
                    let client = accept(opened, nil, nil)
                    guard client >= 0 else { break }
                    close(client)
                }
                close(opened)
            })
        }
    }

    deinit { shutdown(socket, Int32(SHUT_RDWR)) }
}
