// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Testing

/// What a container leaves: names that are no text, folders deeper than a path can name, mounts, links that lead out.
@Suite struct FileTreeTests {
    private static let alien = FileName([0x62, 0x61, 0x64, 0xFF, 0x6E, 0x61, 0x6D, 0x65])

    private func make(_ name: FileName, in folder: String) throws {
        let directory = try FileDescriptor.open(folder, O_RDONLY | O_DIRECTORY)
        let below = name.bytes.map { CChar(bitPattern: $0) } + [0]
        #expect(mkdirat(directory.rawValue, below, 0o755) == 0)
        let inner = openat(directory.rawValue, below, O_RDONLY | O_DIRECTORY)
        defer { close(inner) }
        let file = openat(inner, below, O_WRONLY | O_CREAT, 0o600)
        #expect(file >= 0)
        close(file)
    }

    /// Folders in folders, each made from the one above.
    private func nest(_ depth: Int, in folder: String, name: String) throws {
        var current = try FileDescriptor.open(folder, O_RDONLY | O_DIRECTORY)
        for _ in 0..<depth {
            try #require(mkdirat(current.rawValue, name, 0o755) == 0)
            let below = openat(current.rawValue, name, O_RDONLY | O_DIRECTORY)
            try #require(below >= 0)
            let file = openat(below, "file", O_WRONLY | O_CREAT, 0o600)
            close(file)
            current = FileDescriptor(owning: below)
        }
    }

    @Test func namesThatAreNoTextAreListedAndRemoved() throws {
        let folder = try TemporaryFolder()
        try make(Self.alien, in: folder.path)
        let entries = try Files.list(folder.path)
        #expect(entries.map(\.fileName) == [Self.alien])
        #expect(entries.map(\.kind) == [.directory])
        #expect(entries.map(\.name) == [#"bad\377name"#])
        try Files.removeTree(folder.path)
        #expect(!Files.exists(folder.path))
    }

    @Test func foldersDeeperThanAPathAreRemoved() throws {
        let folder = try TemporaryFolder()
        let top = "\(folder.path)/top"
        try Files.makeDirectories(top)
        // 5,000 levels of 20 bytes: a hundred kilobytes of path, and more levels than descriptors.
        try nest(5000, in: top, name: "a-name-of-twenty-bytes".prefix(20).description)
        try Files.removeTree(top)
        #expect(!Files.exists(top))
        #expect(try Files.list(folder.path).isEmpty)
    }

    @Test func linksAreRemovedAndNotFollowed() throws {
        let folder = try TemporaryFolder()
        try Files.makeDirectories("\(folder.path)/keep")
        try Files.touch("\(folder.path)/keep/file")
        try Files.link("\(folder.path)/keep", at: "\(folder.path)/link")
        try Files.removeTree("\(folder.path)/link/")
        #expect(!Files.exists("\(folder.path)/link"))
        #expect(Files.exists("\(folder.path)/keep/file"))
        try Files.removeTree("\(folder.path)/none")
        try Files.removeTree("\(folder.path)/none/below")
        for path in ["", "/", ".", "..", "\(folder.path)/.."] {
            #expect(throws: Errno.self) { try Files.removeTree(path) }
        }
        #expect(Files.exists("\(folder.path)/keep/file"))
    }

    /// A bind mount of the same file system has the same device number: that is not what tells it.
    @Test(.enabled(if: geteuid() == 0)) func mountsAreNeverEntered() throws {
        let folder = try TemporaryFolder()
        let path = folder.path
        try Namespaces.inNew([.mount]) {
            for name in ["outside", "tree/a/mounted"] { try Files.makeDirectories("\(path)/\(name)") }
            try Files.touch("\(path)/outside/precious")
            try Files.touch("\(path)/tree/file")
            try Mounts.bind("\(path)/outside", onto: "\(path)/tree/a/mounted")
            try Mounts.bind("\(path)/outside/precious", onto: "\(path)/tree/file")
            let error = #expect(throws: Errno.self) { try Files.removeTree("\(path)/tree") }
            #expect(error?.code == EBUSY)
            #expect(error?.detail.hasPrefix("\(path)/tree/") == true, "\(error?.detail ?? "")")
            #expect(Files.exists("\(path)/outside/precious"))
            try Files.removeTree("\(path)/tree", detachingMounts: true)
            #expect(!Files.exists("\(path)/tree"))
            #expect(Files.exists("\(path)/outside/precious"))
            // What is named may itself be a file system: a disk of one's own for a profile.
            try Files.makeDirectories("\(path)/disk")
            try Mounts.tmpfs(onto: "\(path)/disk")
            try Files.makeDirectories("\(path)/disk/in/it")
            let own = #expect(throws: Errno.self) { try Files.removeTree("\(path)/disk") }
            #expect(own?.code == EBUSY)
            #expect(try Files.list("\(path)/disk").isEmpty)
        }
    }

    @Test(.enabled(if: geteuid() == 0)) func mountsWithNamesThatAreNoTextAreLetGo() throws {
        let folder = try TemporaryFolder()
        let path = folder.path
        try Namespaces.inNew([.mount]) {
            try Files.makeDirectories("\(path)/tree")
            let directory = try FileDescriptor.open("\(path)/tree", O_RDONLY | O_DIRECTORY)
            let name = Self.alien.bytes.map { CChar(bitPattern: $0) } + [0]
            #expect(mkdirat(directory.rawValue, name, 0o755) == 0)
            let below = openat(directory.rawValue, name, O_RDONLY | O_DIRECTORY)
            defer { close(below) }
            try Mounts.tmpfs(onto: "/proc/self/fd/\(below)")
            #expect(try Mounts.list().contains { $0.isBelow("\(path)/tree") })
            try Mounts.unmountAll(below: "\(path)/tree")
            #expect(try !Mounts.list().contains { $0.isBelow("\(path)/tree") })
            try Mounts.tmpfs(onto: "/proc/self/fd/\(below)")
            try Files.removeTree("\(path)/tree", detachingMounts: true)
            #expect(!Files.exists("\(path)/tree"))
        }
    }

    @Test func aNameIsShownWholeInMessages() {
        #expect(FileName("plain é").description == "plain é")
        #expect(FileName("a\nb").description == #"a\012b"#)
        #expect(FileName([0x80, 0x07]).description == #"\200\007"#)
        #expect(FileName([0x61, 0, 0x62]).bytes == [0x61])
        #expect(FileName([0xFF]).text == nil)
        #expect([FileName("b"), FileName([0x61, 0xFF]), FileName("a")].sorted().first == FileName("a"))
    }
}
