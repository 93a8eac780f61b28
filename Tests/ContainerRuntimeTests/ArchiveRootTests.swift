// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Glibc
import Linux
import Testing
import Values

/// Archives as they come, and as an attacker would make them. Root: layers hold owners and devices.
@Suite(.enabled(if: geteuid() == 0)) struct ArchiveRootTests {
    private let scratch: Scratch
    private let store: ImageStore

    init() throws {
        scratch = try Scratch()
        store = ImageStore(root: scratch.path + "/images", registries: RegistrySettings())
    }

    private func load(_ bytes: [UInt8]) async throws -> [String] {
        let file = scratch.path + "/archive.tar"
        try Files.replace(file, with: bytes, durable: false)
        return try await store.load(archive: file)
    }

    private func load(layer: Tar) async throws -> String {
        let image = try await TestImage([layer.finished])
        let names = try await load(image.dockerArchive(["test/layer:1"]))
        return try #require(store.image(names[0])?.layerPaths.first)
    }

    /// Loads, and expects it to be refused with nothing left behind.
    private func refused(_ bytes: [UInt8], _ words: String, kind: ImageError.Kind = .corrupt) async throws {
        let error = await #expect(throws: ImageError.self) { _ = try await load(bytes) }
        #expect(error?.kind == kind)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        #expect(store.list().isEmpty)
        for folder in ["layers", "tmp", "blobs/sha256"] {
            #expect(try Files.list("\(store.root)/\(folder)").map(\.name) == [])
        }
    }

    private func refused(layer: Tar, _ words: String) async throws {
        try await refused(try await TestImage([layer.finished]).dockerArchive(["test/evil:1"]), words)
    }

    @Test func aDockerArchiveIsTakenIn() async throws {
        var base = Tar()
        base.add("./", "5", mode: 0o755)
        base.add("etc/", "5", mode: 0o755)
        base.add("etc/old", content: Array("old".utf8))
        base.add("etc/gone", content: Array("gone".utf8))
        base.add("bin/tool", content: Array("#!/bin/sh\n".utf8), mode: 0o4755, uid: 12)
        base.add("bin/same", "1", link: "bin/tool")
        base.add("lib", "2", link: "usr/lib")
        base.add("dev/null", "3", device: (1, 3))
        base.add("run/pipe", "6", mode: 0o600)
        base.add("file", content: Array("x".utf8), attributes: [("user.a", "b"), ("trusted.overlay.redirect", "/etc")])
        var top = Tar()
        top.add("etc/.wh.gone")
        top.add("etc/.wh..wh..opq")
        top.add("etc/new", content: Array("new".utf8))
        let image = try await TestImage([base.finished, top.finished])
        let names = try await load(image.dockerArchive(["test/image:1", "other.example/image:2"]))
        #expect(names == ["docker.io/test/image:1", "other.example/image:2"])
        let local = try #require(store.image("test/image:1"))
        #expect(local.command == ["/bin/sh"])
        #expect(local.layerPaths.count == 2)
        #expect(store.image(local.id)?.id == local.id)
        #expect(store.image(String(local.id.dropFirst(7).prefix(12)))?.id == local.id)
        let (low, high) = (local.layerPaths[0], local.layerPaths[1])
        #expect(try Files.text(low + "/etc/old") == "old")
        var info = stat()
        #expect(stat(low + "/bin/tool", &info) == 0 && info.st_uid == 12 && info.st_mode & 0o7777 == 0o4755)
        #expect(info.st_nlink == 2)
        #expect(info.st_mtim.tv_sec == 1_600_000_000)
        #expect(try Files.target(ofLink: low + "/lib") == "usr/lib")
        #expect(Files.kind(low + "/run/pipe") == .pipe)
        #expect(!Files.exists(low + "/dev/null"))
        #expect(ExtendedAttribute.size(low + "/file", "user.a") == 1)
        #expect(ExtendedAttribute.size(low + "/file", "trusted.overlay.redirect") == nil)
        #expect(Files.kind(high + "/etc/gone") == .characterDevice)
        #expect(ExtendedAttribute.size(high + "/etc", "trusted.overlay.opaque") == 1)
        // The same again makes nothing new, and another instance sees the same.
        #expect(try await load(image.dockerArchive(["test/image:1"])) == ["docker.io/test/image:1"])
        #expect(ImageStore(root: store.root).list().map(\.id) == [local.id])
        try store.remove("test/image:1")
        #expect(store.image("test/image:1") == nil)
        #expect(store.image("other.example/image:2") != nil)
        try store.remove("other.example/image:2")
        #expect(try Files.list(store.root + "/layers").isEmpty)
        #expect(throws: ImageError.self) { try store.remove("test/image:1") }
    }

    @Test func anOCIArchiveIsTakenInCompressedOrNot() async throws {
        var layer = Tar()
        layer.add("hello", content: Array("hi".utf8))
        let image = try await TestImage([layer.finished])
        let archive = try await image.ociArchive("quay.io/a/b:1")
        #expect(try await load(archive) == ["quay.io/a/b:1"])
        #expect(try await load(try await gzip(archive)) == ["quay.io/a/b:1"])
    }

    /// Names in layers are bytes, and stay what they are: entries, folders above them, links and whiteouts.
    @Test func namesThatAreNoTextStayWhatTheyAre() async throws {
        let name: [UInt8] = [0x62, 0xFF, 0xE9]
        let inner = Array("folder-".utf8) + [0xFE]
        var tar = Tar()
        tar.add(bytes: name, content: Array("one".utf8))
        tar.add(bytes: inner + [0x2F] + name, content: Array("two".utf8))
        tar.add(bytes: Array("hard-".utf8) + name, "1", link: inner + [0x2F] + name)
        tar.add(bytes: Array("soft-".utf8) + name, "2", link: name)
        tar.add(bytes: Array(".wh.gone-".utf8) + name)
        let layer = try await load(layer: tar)
        let entries = try Files.list(layer)
        #expect(
            entries.map(\.fileName)
                == [
                    FileName(name), FileName(inner), FileName(Array("gone-".utf8) + name),
                    FileName(Array("hard-".utf8) + name), FileName(Array("soft-".utf8) + name),
                ])
        #expect(entries.map(\.kind) == [.file, .directory, .characterDevice, .file, .symbolicLink])
        #expect(try Files.list(store.root + "/tmp").isEmpty)
        for image in store.list() { try store.remove(image.reference) }
        #expect(try Files.list(store.root + "/layers").isEmpty)
    }

    @Test func pathsThatLeadOutAreRefused() async throws {
        var up = Tar()
        up.add("../../outside", content: [1])
        try await refused(layer: up, "leads upwards")
        var inner = Tar()
        inner.add("a/../../b", content: [1])
        try await refused(layer: inner, "leads upwards")
    }

    /// Builders write such names; they mean what a container would find there.
    @Test func absoluteMeansInsideTheImage() async throws {
        let outside = scratch.path + "/outside"
        let secret = try scratch.write("outside/secret", "secret")
        var tar = Tar()
        tar.add("/opt/", "5", mode: 0o755)
        tar.add("/opt/one", content: Array("1".utf8))
        tar.add("opt/two", "1", link: "/opt/one")
        tar.add("opt/three", "1", link: "//opt/./two")
        // Below links of the same layer: to what is there, to what is not there yet, and through one another.
        tar.add("run/", "5", mode: 0o755)
        tar.add("var/run", "2", link: "/run")
        tar.add("var/run/here", content: Array("here".utf8))
        tar.add("way", "2", link: outside)
        tar.add("way/new", content: Array("new".utf8))
        tar.add("other", "2", link: "way/../deep/er")
        tar.add("other/x/y", content: Array("y".utf8))
        tar.add("climbing", "2", link: "../../../../../../..\(outside)")
        tar.add("climbing/high", content: Array("high".utf8))
        tar.add("same", "1", link: "/way/new")
        let layer = try await load(layer: tar)
        var info = stat()
        #expect(stat(layer + "/opt/one", &info) == 0 && info.st_nlink == 3)
        #expect(try Files.text(layer + "/opt/three") == "1")
        #expect(try Files.text(layer + "/run/here") == "here")
        #expect(try Files.target(ofLink: layer + "/var/run") == "/run")
        #expect(try Files.text(layer + outside + "/new") == "new")
        #expect(try Files.text(layer + outside + "/high") == "high")
        #expect(try Files.text(layer + "/same") == "new")
        #expect(try Files.text(layer + Files.directory(of: outside) + "/deep/er/x/y") == "y")
        #expect(try Files.list(outside).map(\.name) == ["secret"])
        #expect(try Files.text(secret) == "secret")
    }

    @Test func linksThatLeadNowhereUsableAreRefused() async throws {
        let outside = scratch.path + "/outside"
        _ = try scratch.write("outside/file", "secret")
        var twice = Tar()
        twice.add("a", "2", link: "b")
        twice.add("b", "2", link: "a")
        twice.add("a/evil", content: [1])
        try await refused(layer: twice, "in a circle")
        var growing = Tar()
        growing.add("a", "2", link: "b/c")
        growing.add("b", "2", link: "a")
        growing.add("a/evil", content: [1])
        try await refused(layer: growing, "in a circle")
        var hard = Tar()
        hard.add("way", "2", link: outside)
        hard.add("copy", "1", link: "way/file")
        try await refused(layer: hard, "not in the archive")
        var passwd = Tar()
        passwd.add("copy", "1", link: "/etc/passwd")
        try await refused(layer: passwd, "not in the archive")
        var upwards = Tar()
        upwards.add("copy", "1", link: "../../../etc/passwd")
        try await refused(layer: upwards, "leads upwards")
        var below = Tar()
        below.add("file", content: [1])
        below.add("file/evil", content: [1])
        try await refused(layer: below, "not a folder")
        #expect(try Files.list(outside).map(\.name) == ["file"])
    }

    /// Each name that an archive's documents give is opened without waiting for whoever writes to it.
    @Test func pipesInAnArchiveAreNotWaitedFor() async throws {
        for name in ["manifest.json", "index.json"] {
            var tar = Tar()
            tar.add(name, "6")
            try await refused(tar.finished, "\"\(name)\" is not a file")
        }
        let manifest = #"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l.tar"]}]"#
        let config = try await TestImage([Tar().finished]).config
        for pipe in ["c.json", "l.tar"] {
            var tar = Tar()
            tar.add("manifest.json", content: Array(manifest.utf8))
            if pipe != "c.json" { tar.add("c.json", content: config) }
            tar.add(pipe, "6")
            try await refused(tar.finished, "\"\(pipe)\" is not a file")
        }
        let pipe = scratch.path + "/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        await #expect(throws: ImageError.self) { _ = try await store.load(archive: pipe) }
    }

    @Test func aFileOverALinkReplacesTheLink() async throws {
        let victim = try scratch.write("victim", "untouched")
        var tar = Tar()
        tar.add("x", "2", link: victim)
        tar.add("x", content: Array("mine".utf8))
        tar.add("d", "2", link: scratch.path)
        tar.add("d", "5", mode: 0o777)
        tar.add("d/in", content: [1])
        let layer = try await load(layer: tar)
        #expect(try Files.text(victim) == "untouched")
        #expect(try Files.text(layer + "/x") == "mine")
        #expect(Files.kind(layer + "/d") == .directory)
        #expect(!Files.exists(scratch.path + "/in"))
    }

    @Test func devicesAreLeftOutAndWhiteoutsCannotBeForged() async throws {
        var tar = Tar()
        tar.add("disk", "4", device: (8, 0))
        tar.add("forged", "3", device: (0, 0))
        tar.add("kept", content: [1])
        let layer = try await load(layer: tar)
        #expect(try Files.list(layer).map(\.name) == ["kept"])
        var evil = Tar()
        evil.add(".wh...", content: [])
        try await refused2(evil)
    }

    private func refused2(_ tar: Tar) async throws {
        let image = try await TestImage([tar.finished])
        await #expect(throws: ImageError.self) { _ = try await load(image.dockerArchive(["test/evil:1"])) }
    }

    @Test func damagedArchivesLeaveNothing() async throws {
        var layer = Tar()
        layer.add("a", content: [UInt8](repeating: 7, count: 5000))
        let image = try await TestImage([layer.finished])
        let good = image.dockerArchive(["test/good:1"])
        try await refused(Array(good.prefix(3000)), "damaged")
        try await refused(Array(try await gzip(good).dropLast(20)), "damaged")
        try await refused([], "empty")
        try await refused(Array("this is not an archive at all, only text".utf8), "")
        var nothing = Tar()
        nothing.add("readme", content: [1])
        try await refused(nothing.finished, "not an image archive")
        var swapped = image
        swapped.layers = [Tar().finished]
        try await refused(swapped.dockerArchive(["test/swapped:1"]), "unpacks to something else")
        var cut = image
        cut.layers = [Array(layer.finished.prefix(2000))]
        try await refused(cut.dockerArchive(["test/cut:1"]), "")
        let foreign = try await TestImage([layer.finished], architecture: "s390x")
        try await refused(foreign.dockerArchive(["test/foreign:1"]), "s390x", kind: .wrongArchitecture)
        await #expect(throws: ImageError.self) { _ = try await store.load(archive: "/no/such/file.tar") }
        await #expect(throws: ImageError.self) { _ = try await store.load(archive: scratch.path) }
    }

    @Test func anArchivesOwnLinksCannotReadOutside() async throws {
        var tar = Tar()
        tar.add("manifest.json", content: Array(#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":[]}]"#.utf8))
        tar.add("c.json", "2", link: "/etc/passwd")
        try await refused(tar.finished, "leads out of it")
    }

    @Test func standardInputIsTakenInAndNotWaitedForForEver() async throws {
        let image = try await TestImage([Tar().finished])
        let archive = try FileDescriptor.inMemory(try await gzip(image.dockerArchive(["test/piped:1"])))
        #expect(try await store.load(from: archive.rawValue) == ["docker.io/test/piped:1"])
        let ends = try FileDescriptor.pipe().take()
        defer {
            close(ends.read)
            close(ends.write)
        }
        try FileDescriptor.write(ends.write, Array(image.dockerArchive(["test/cut:1"]).prefix(700)))
        let error = await #expect(throws: ImageError.self) {
            _ = try await store.load(from: ends.read, patience: .milliseconds(1))
        }
        #expect(error?.message.contains("standard input") == true)
        #expect(error?.message.contains("nothing came") == true)
        #expect(try Files.list(store.root + "/tmp").isEmpty)
    }

    @Test func severalStoresLoadTheSameAtOnce() async throws {
        var layer = Tar()
        for number in 0..<50 { layer.add("f\(number)", content: [UInt8](repeating: 1, count: 2000)) }
        let image = try await TestImage([layer.finished])
        let archive = image.dockerArchive(["test/many:1"])
        let file = scratch.path + "/many.tar"
        try Files.replace(file, with: archive, durable: false)
        let root = store.root
        try await withThrowingTaskGroup(of: [String].self) { group in
            for _ in 0..<6 { group.addTask { try await ImageStore(root: root).load(archive: file) } }
            for try await names in group { #expect(names == ["docker.io/test/many:1"]) }
        }
        #expect(try Files.list(root + "/layers").count == 1)
        #expect(try Files.list(root + "/tmp").isEmpty)
    }

    @Test func aFullDiskIsNamedAndLeavesNothing() async throws {
        let root = scratch.path + "/small"
        try Files.makeDirectories(root)
        try Mounts.tmpfs(onto: root, size: "2m")
        defer { try? Mounts.unmount(root) }
        var layer = Tar()
        layer.add("big", content: [UInt8](repeating: 1, count: 3 << 20))
        let archive = try scratch.write("x", "").replacing("/x", with: "/big.tar")
        try Files.replace(archive, with: try await TestImage([layer.finished]).dockerArchive(["a:1"]), durable: false)
        let full = ImageStore(root: root + "/images", registries: RegistrySettings())
        let error = await #expect(throws: ImageError.self) { _ = try await full.load(archive: archive) }
        #expect(error?.kind == .noSpace)
        #expect(error?.message.contains("no space left") == true)
        #expect(full.list().isEmpty)
        #expect(try Files.list(root + "/images/tmp").isEmpty)
        #expect(try Files.list(root + "/images/layers").isEmpty)
    }

    @Test func whatAKilledProcessLeftIsSweptUp() async throws {
        _ = try await load(layer: Tar())
        let left = store.root + "/tmp/1-1"
        try Files.makeDirectories(left + "/layer/half")
        try Files.touch(left + ".lock")
        var layer = Tar()
        layer.add("a", content: [1])
        _ = try await load(layer: layer)
        #expect(try Files.list(store.root + "/tmp").isEmpty)
    }
}
