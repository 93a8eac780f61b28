// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Testing

@Suite struct FilesTests {
    @Test func replacesWhole() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/file"
        try Files.replace(path, with: "one".utf8)
        try Files.replace(path, with: "two".utf8, mode: 0o644, durable: false)
        #expect(try Files.text(path) == "two")
        var info = stat()
        #expect(stat(path, &info) == 0 && info.st_mode & 0o777 == 0o644)
        #expect(try Files.list(folder.path).map(\.name) == ["file"])
    }

    @Test func failureLeavesNothing() throws {
        let folder = try TemporaryFolder()
        try Files.makeDirectories("\(folder.path)/a/b/c")
        try Files.makeDirectories("\(folder.path)/a/b/c")
        #expect(throws: Errno.self) { try Files.replace("\(folder.path)/a", with: "x".utf8) }
        #expect(try Files.list(folder.path).map(\.name) == ["a"])
        #expect(throws: Errno.self) { try Files.makeDirectories("/proc/nothing/here") }
    }

    @Test func removesTreesWithoutFollowingLinks() throws {
        let folder = try TemporaryFolder()
        try Files.makeDirectories("\(folder.path)/keep")
        try Files.touch("\(folder.path)/keep/file")
        try Files.makeDirectories("\(folder.path)/go/deep")
        try Files.link("\(folder.path)/keep", at: "\(folder.path)/go/deep/link")
        try Files.removeTree("\(folder.path)/go")
        try Files.removeTree("\(folder.path)/go")
        #expect(Files.exists("\(folder.path)/keep/file"))
        #expect(!Files.exists("\(folder.path)/go"))
    }

    @Test func locksExclude() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/lock"
        do {
            let held = try FileLock(path)
            let second = try FileLock.tryLock(path)
            let none = second == nil
            #expect(none)
            _ = consume held
        }
        let third = try FileLock.tryLock(path)
        let taken = third != nil
        #expect(taken)
    }

    /// A pipe at a path where a file belongs: no writer is an empty file, a slow one has a limit, a good one is read.
    @Test func pipesAreReadWithALimitToTheirTime() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/pipe"
        #expect(mkfifo(path, 0o600) == 0)
        #expect(try Files.read(path) == [])
        let ends = try FileDescriptor.pipe()
        try ends.write.write([1, 2])
        let silent = "/proc/self/fd/\(ends.read.rawValue)"
        let error = #expect(throws: Errno.self) { _ = try Files.read(silent, patience: .milliseconds(1)) }
        #expect(error?.code == ETIMEDOUT)
        try ends.write.write([3, 4, 5])
        #expect(throws: Errno.self) { _ = try Files.read(silent, limit: 2, patience: .seconds(60)) }
        let (read, write) = ends.take()
        let reader = FileDescriptor(owning: read)
        close(write)
        #expect(try Files.read("/proc/self/fd/\(reader.rawValue)") == [])
    }

    @Test func errorsNameCallAndPath() {
        let error = #expect(throws: Errno.self) { _ = try Files.read("/no/such/file") }
        #expect(error?.description == "open /no/such/file: No such file or directory")
    }

    @Test func socketsCarryDescriptors() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/socket"
        let listener = try UnixSocket.listen(path)
        let client = try UnixSocket.connect(path)
        let server = try listener.accept()
        let file = try FileDescriptor.inMemory(Array("carried".utf8))
        try client.send(Array("hello".utf8), descriptors: [file.rawValue])
        let (bytes, descriptors) = try server.receive(exactly: 5)
        #expect(String(decoding: bytes, as: UTF8.self) == "hello")
        #expect(descriptors.count == 1)
        let received = FileDescriptor(owning: descriptors[0])
        #expect(try received.readToEnd() == Array("carried".utf8))
        #expect(try server.peer().pid == getpid())
        try client.send([1, 2])
        _ = client.take()
    }

    @Test func closedPeerIsNoHang() throws {
        let ends = try UnixSocket.pair()
        let reader = UnixSocket(owning: ends.0)
        do {
            let writer = UnixSocket(owning: ends.1)
            try writer.send([1, 2, 3])
        }
        let error = #expect(throws: Errno.self) { _ = try reader.receive(exactly: 10) }
        #expect(error?.code == ECONNRESET)
        #expect(throws: Errno.self) { _ = try UnixSocket.connect("/" + String(repeating: "x", count: 200)) }
    }

    @Test func inotifyTells() async throws {
        let folder = try TemporaryFolder()
        let watcher = try Inotify()
        try watcher.add(folder.path)
        try Files.replace("\(folder.path)/a", with: "1".utf8)
        var seen = false
        for await batch in watcher.events {
            if batch.contains(where: { $0.name == "a" && $0.kinds.contains(.movedTo) && $0.path == folder.path }) {
                seen = true
                break
            }
        }
        #expect(seen)
    }

    /// More watchers than the kernel gives a user instances, which is 128 as a rule.
    @Test func watchersOfOneProcessShareWhatTheKernelGives() async throws {
        let folder = try TemporaryFolder()
        let watchers = try (0..<300).map { _ in try Inotify() }
        for watcher in watchers { try watcher.add(folder.path, [.movedTo]) }
        try Files.replace("\(folder.path)/a", with: "1".utf8)
        for watcher in watchers {
            for await batch in watcher.events where batch.contains(where: { $0.name == "a" }) { break }
        }
    }

    @Test func watchersOfOneFileAreToldOfTheirOwnKinds() async throws {
        let folder = try TemporaryFolder()
        func names(_ watcher: Inotify, until last: String) async -> [String] {
            var names: [String] = []
            for await batch in watcher.events {
                names += batch.map(\.name)
                if names.contains(last) { break }
            }
            return names
        }
        let all = try Inotify()
        let arrivals = try Inotify()
        do {
            let gone = try Inotify()
            try all.add(folder.path, [.movedTo, .deleted, .ignored])
            try gone.add(folder.path, [.created])
            try arrivals.add("\(folder.path)/.", [.movedTo])
        }
        try Files.replace("\(folder.path)/a", with: "1".utf8)
        unlink("\(folder.path)/a")
        try Files.replace("\(folder.path)/b", with: "1".utf8)
        #expect(await names(all, until: "b") == ["a", "a", "b"])
        #expect(await names(arrivals, until: "b") == ["a", "b"])
        // The watch of one goes; the other's stays.
        arrivals.remove("\(folder.path)/.")
        try Files.replace("\(folder.path)/c", with: "1".utf8)
        #expect(await names(all, until: "c") == ["c"])
        try arrivals.add(folder.path, [.movedTo])
        try Files.replace("\(folder.path)/d", with: "1".utf8)
        #expect(await names(arrivals, until: "d") == ["d"])
    }
}
