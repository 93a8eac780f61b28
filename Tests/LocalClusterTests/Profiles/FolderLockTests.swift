// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import LocalCluster
import Synchronization
import Testing

private final class Notes: Sendable {
    private let list = Mutex<[String]>([])
    func add(_ text: String) { list.withLock { $0.append(text) } }
    var all: [String] { list.withLock { $0 } }
}

@Suite struct FolderLockTests {
    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = "/tmp/catbird-lock-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories(folder)
        defer { try? Files.removeTree(folder) }
        try await body("\(folder)/lab")
    }

    /// Another process that holds the lock, until it is ended.
    private func holder(of path: String) async throws -> ChildProcess {
        try Files.makeDirectories(path)
        let ends = try FileDescriptor.pipe().take()
        var spawner = ProcessSpawner(
            "/usr/bin/flock", ["-F", path, "sh", "-c", "echo >&3; exec 3>&-; exec sleep 1000"])
        spawner.descriptors = [3: ends.write]
        let child = try spawner.spawn()
        close(ends.write)
        let reader = ends.read
        _ = try await OwnThread.run(awaiting: { try FileDescriptor.read(reader, upTo: 1) })
        close(reader)
        return child
    }

    @Test func oneAfterTheOther() async throws {
        try await withFolder { path in
            let order = Notes()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        let lock = try await FolderLock.acquire(path) { _ in }
                        order.add("\(number)")
                        await Task.yield()
                        order.add("\(number)")
                        // Some remove the folder as the last they do, as a delete does it: the next makes it anew.
                        if number % 2 == 0 { try Files.removeTree(path) }
                        lock.release()
                    }
                }
                try await group.waitForAll()
            }
            let seen = order.all
            #expect(seen.count == 16)
            #expect(stride(from: 0, to: 16, by: 2).allSatisfy { seen[$0] == seen[$0 + 1] }, "\(seen)")
            // What was made to be locked is no residue.
            #expect(!Files.exists(path))
        }
    }

    @Test func whoWaitsIsToldForWhom() async throws {
        try await withFolder { path in
            let child = try await holder(of: path)
            let told = Notes()
            let lock = try await FolderLock.acquire(path) { holder in
                told.add(holder.map { "\($0)" } ?? "nobody")
                try? child.signal(SIGKILL)
            }
            lock.release()
            _ = await child.wait()
            #expect(told.all.count == 1)
            #expect(told.all.first?.contains("process \(child.pid) (sleep 1000") == true, "\(told.all)")
        }
    }

    @Test func whoHoldsItTooLongIsEnded() async throws {
        try await withFolder { path in
            let child = try await holder(of: path)
            try child.signal(SIGSTOP)
            let lock = try await FolderLock.acquire(path, endingHolderAfter: .milliseconds(20)) { _ in }
            lock.release()
            #expect(await child.wait() == .signalled(SIGKILL))
        }
    }
}
