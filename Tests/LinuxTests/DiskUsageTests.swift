// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Testing

@Suite("Disk usage") struct DiskUsageTests {
    private static func file(_ path: String, _ count: Int) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        try #require(file >= 0)
        defer { close(file) }
        let bytes = [UInt8](repeating: 1, count: count)
        #expect(bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) } == count)
    }

    @Test("blocks count: not holes, not second names, not what links point to; names are bytes")
    func tree() throws {
        let root = "/tmp/disk-usage-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try Files.makeDirectories(root + "/a/b/c")
        defer { try? Files.removeTree(root) }
        let empty = DiskUsage.bytes(below: root)
        let size = 256 << 10
        try Self.file(root + "/a/b/c/file", size)
        let one = DiskUsage.bytes(below: root)
        #expect(one - empty >= Int64(size))
        // What else takes no room but that of names.
        #expect(link(root + "/a/b/c/file", root + "/a/second") == 0)
        #expect(symlink("/usr", root + "/a/link") == 0)
        let hole = open(root + "/a/hole", O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        #expect(ftruncate(hole, 1 << 30) == 0)
        close(hole)
        #expect(DiskUsage.bytes(below: root) - one < 64 << 10)
        let name = (root + "/bad").utf8.map { CChar(bitPattern: $0) } + [CChar(bitPattern: 0xFF), 0]
        #expect(mkdir(name, 0o755) == 0)
        let folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        #expect(writeInside(folder, size))
        close(folder)
        #expect(DiskUsage.bytes(below: root) - one >= Int64(size))
        #expect(unlinkInside(name))
        #expect(DiskUsage.bytes(below: root + "/none") == 0)
    }

    private func writeInside(_ folder: Int32, _ count: Int) -> Bool {
        let file = openat(folder, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { return false }
        defer { close(file) }
        let bytes = [UInt8](repeating: 1, count: count)
        return bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) } == count
    }

    private func unlinkInside(_ name: [CChar]) -> Bool {
        let folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(folder) }
        return unlinkat(folder, "file", 0) == 0 && rmdir(name) == 0
    }
}
