// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import KubeObjects
import Linux
import Testing
import Values

@testable import Kubelet

/// Parts of volumes, where who writes into the volume means harm.
@Suite(.enabled(if: geteuid() == 0)) struct SubPathTests {
    /// Runs in a mount namespace of its own, with a volume, a place to mount at, and a folder that is nobody's business.
    private func stage(
        _ body: @escaping @Sendable (_ volume: String, _ target: String, _ outside: String) throws -> Void
    )
        throws
    {
        let folder = "/tmp/kubelet-subpath-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        defer { try? Files.removeTree(folder) }
        try Namespaces.inNew([.mount]) {
            for name in ["volume", "outside"] { try Files.makeDirectories("\(folder)/\(name)") }
            chmod("\(folder)/volume", 0o777)
            try Files.replace("\(folder)/outside/secret", with: "secret".utf8, durable: false)
            try body("\(folder)/volume", "\(folder)/kubelet/target", "\(folder)/outside")
        }
    }

    private static func mounts(_ volumes: VolumeManager, _ volume: JSON, _ path: String) throws -> [Mount] {
        let container = ContainerView(
            json: ["name": "c", "volumeMounts": [["name": "v", "mountPath": "/v"]]], role: .regular)
        return try volumes.mounts(of: container, in: "u", paths: ["v": path], volumes: [volume], variables: [])
    }

    @Test("a path of the node that has become something else since it was looked at is not mounted")
    func swapped() throws {
        try stage { folder, target, outside in
            var configuration = KubeletConfiguration(nodeName: "lab", nodeIP: IPAddress(192, 0, 2, 1))
            configuration.rootDirectory = Files.directory(of: target)
            let volumes = VolumeManager(configuration: configuration)
            let path = "\(folder)/data"
            let volume: JSON = ["name": "v", "hostPath": ["path": JSON(path), "type": "DirectoryOrCreate"]]
            let pod = PodView(
                KubeObject(["metadata": ["name": "p", "namespace": "n", "uid": "u"], "spec": ["volumes": [volume]]]))
            let found = try volumes.setUp(
                volume, of: pod, environment: EnvironmentSources(), tokens: [:], objects: [:])
            #expect(found == path)
            #expect(try Self.mounts(volumes, volume, path).map(\.destination) == ["/v"])
            try Files.removeTree(path)
            try Files.replace(path, with: "x".utf8, durable: false)
            #expect(throws: ContainerConfigError.self) { try Self.mounts(volumes, volume, path) }
            try volumes.tearDown("u")
            #expect(try Files.text("\(outside)/secret") == "secret")
        }
    }

    @Test("a missing part is made, as open to others as its volume is")
    func made() throws {
        try stage { volume, target, _ in
            try SubPath("a/b", volume: volume).mount(onto: target)
            try Files.replace("\(target)/file", with: "1".utf8, durable: false)
            #expect(try Files.text("\(volume)/a/b/file") == "1")
            var info = stat()
            #expect(stat("\(volume)/a/b", &info) == 0 && info.st_mode & 0o7777 == 0o777)
            // Mounted anew by the next container, on top of nothing.
            try SubPath("a/b", volume: volume).mount(onto: target)
            #expect(try Mounts.list().filter { $0.target == target }.count == 1)
        }
    }

    @Test("files are mounted, through links within the volume too")
    func files() throws {
        try stage { volume, target, _ in
            try Files.makeDirectories("\(volume)/..1")
            try Files.replace("\(volume)/..1/key", with: "value".utf8, durable: false)
            try Files.link("..1", at: "\(volume)/..data")
            try Files.link("..data/key", at: "\(volume)/key")
            try SubPath("key", volume: volume).mount(onto: target)
            #expect(try Files.text(target) == "value")
        }
    }

    @Test("a link that leads out is refused, and nothing is made where it leads", arguments: [true, false])
    func links(isAbsolute: Bool) throws {
        try stage { volume, target, outside in
            try Files.link(isAbsolute ? outside : "../outside", at: "\(volume)/way")
            for path in ["way", "way/new", "way/secret", "way/new/deeper"] {
                let error = #expect(throws: ContainerConfigError.self) {
                    try SubPath(path, volume: volume).mount(onto: target)
                }
                #expect(error?.message.contains("leads out of its volume") == true, "\(error?.message ?? "")")
            }
            #expect(try Files.list(outside).map(\.name) == ["secret"])
            #expect(try Mounts.list().allSatisfy { $0.target != target })
            try Files.link("nowhere", at: "\(volume)/dangling")
            #expect(throws: ContainerConfigError.self) {
                try SubPath("dangling/x", volume: volume).mount(onto: target)
            }
            #expect(throws: ContainerConfigError.self) { try SubPath("../outside", volume: volume) }
            #expect(throws: ContainerConfigError.self) { try SubPath("/outside", volume: volume) }
        }
    }

    @Test("links that change while the part is looked for never lead out")
    func races() throws {
        try stage { volume, target, outside in
            try Files.makeDirectories("\(volume)/turn")
            try Files.makeDirectories("\(volume)/turn/in")
            try Files.link(outside, at: "\(volume)/other")
            let thread = try Flipper("\(volume)/turn", "\(volume)/other")
            for _ in 0..<300 {
                do { try SubPath("turn/in", volume: volume).mount(onto: target) } catch { continue }
                #expect(!Files.exists("\(target)/secret"))
                #expect(Files.kind("\(outside)/in") == nil)
            }
            thread.stop()
            #expect(try Files.list(outside).map(\.name) == ["secret"])
        }
    }
}

/// What pods are given of the node itself.
@Suite(.enabled(if: geteuid() == 0)) struct MountPointTests {
    @Test("copies of the root show the machine read-only, and nothing of each other")
    func copies() throws {
        let folder = "/tmp/kubelet-places-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        defer { try? Files.removeTree(folder) }
        try Namespaces.inNew([.mount]) {
            try Mounts.setPropagation("/", .shared, recursive: true)
            try Files.makeDirectories("\(folder)/images/layers")
            try Mounts.bind("\(folder)/images", onto: "\(folder)/images")
            let places = "\(folder)/places"
            try MountPoint.prepareFolder(places)
            try MountPoint.prepareFolder(places)
            let before = try Mounts.list().count
            for name in ["one", "two", "three"] {
                try MountPoint("\(places)/\(name)").bind(try Files.place("/"), isShared: false)
                #expect(try !MountPoint("\(places)/\(name)").protectMachine(images: "\(folder)/images"))
            }
            // As many more each time, and not twice as many.
            #expect(try Mounts.list().count < before * 4)
            // Of those on top of each other the last is the one that is seen.
            let seen = Dictionary(try Mounts.list().map { ($0.target, $0) }, uniquingKeysWith: { $1 }).values
            for mount in seen where mount.isBelow(places) {
                let isKernel = ["proc", "sysfs", "cgroup", "cgroup2", "devtmpfs"].contains(mount.type)
                if isKernel || mount.target.hasSuffix("/images") { #expect(mount.isReadOnly, "\(mount.target)") }
                #expect(!mount.target.dropFirst(places.count).contains(places), "\(mount.target)")
            }
            for name in ["proc/sys/kernel/core_pattern", String(folder.dropFirst()) + "/images/layers/new"] {
                let path = "\(places)/two/\(name)"
                let error = #expect(throws: Errno.self) {
                    _ = try FileDescriptor.open(path, O_WRONLY | O_CREAT)
                }
                #expect(error?.code == EROFS, "\(path)")
            }
            // A place that is itself of the machine says so: the container's mount of it must be read-only too.
            for source in ["/proc", "/proc/sys/kernel", "\(folder)/images/layers"] {
                try MountPoint("\(places)/four").bind(try Files.place(source), isShared: false)
                #expect(try MountPoint("\(places)/four").protectMachine(images: "\(folder)/images"), "\(source)")
            }
            // What is mounted later on the node comes in, what goes from a copy does not go from the node.
            try Files.makeDirectories("\(folder)/later")
            try Mounts.tmpfs(onto: "\(folder)/later")
            #expect(try Mounts.isMountPoint("\(places)/one\(folder)/later"))
            try Files.removeTree("\(places)/one", detachingMounts: true)
            #expect(try Mounts.isMountPoint("\(folder)/later"))
            #expect(try Mounts.isMountPoint("/proc"))
            try Mounts.setPropagation("/", .private, recursive: true)
            try Files.removeTree(places, detachingMounts: true)
        }
    }
}

/// Exchanges two names, again and again, on a thread of its own.
private final class Flipper: Sendable {
    private let process: ChildProcess

    init(_ first: String, _ second: String) throws {
        // A process, not a thread: the test's own is in a mount namespace of its own, which this one needs not be in.
        let script =
            "import ctypes,os\nl=ctypes.CDLL(None)\nwhile True: l.renameat2(-100,b'\(first)',-100,b'\(second)',2)"
        process = try ProcessSpawner("python3", ["-c", script]).spawn()
    }

    func stop() { try? process.signal(SIGKILL) }
}
