// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
import Foundation
import Glibc
import Kubelet
import Logging
import Synchronization
import Testing
import Values

@Suite("Rotation of logs") struct LogRotationTests {
    private struct Log {
        let folder = "/tmp/kubelet-logs-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        var path: String { folder + "/0.log" }

        func append(_ count: Int) {
            let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
            defer { close(file) }
            let bytes = [UInt8](repeating: 0x61, count: count)
            _ = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        }
    }

    @Test("no write goes unnoticed, however fast they come", .timeLimit(.minutes(1)))
    func fastWriter() async throws {
        let log = Log()
        try NodeFiles.makeDirectory(log.folder)
        defer { try? NodeFiles.removeTree(log.folder) }
        log.append(1)
        let runtime = FakeRuntime()
        let (rotations, rotation) = AsyncStream.makeStream(of: Void.self)
        runtime.state.withLock { state in
            state.reopen = { _ in
                log.append(1)
                rotation.yield()
            }
        }
        let rotator = LogRotator(runtime: runtime, log: Logger(label: "test"), size: 20_000)
        let task = Task { await rotator.run() }
        rotator.follow("c1", log.path)
        let isOver = ValueBox(false)
        let writer = Thread { while !isOver.value { log.append(100) } }
        writer.start()
        var count = 0
        for await _ in rotations {
            count += 1
            if count == 300 { break }
        }
        isOver.value = true
        task.cancel()
        #expect(count == 300)
    }

    @Test(
        "a log is rotated because it was written to, again and again, and five files are kept", .timeLimit(.minutes(1)))
    func byEvent() async throws {
        let log = Log()
        try NodeFiles.makeDirectory(log.folder)
        defer { try? NodeFiles.removeTree(log.folder) }
        let runtime = FakeRuntime()
        let (rotations, rotation) = AsyncStream.makeStream(of: Void.self)
        runtime.state.withLock { state in
            state.reopen = { _ in
                log.append(0)
                rotation.yield()
            }
        }
        let rotator = LogRotator(runtime: runtime, log: Logger(label: "test"), size: 1000)
        let task = Task { await rotator.run() }
        defer { task.cancel() }
        // As it was found: too large already.
        log.append(1500)
        rotator.follow("c1", log.path)
        var seen = rotations.makeAsyncIterator()
        _ = await seen.next()
        // A little is no reason; with the rest it is.
        for _ in 0..<6 {
            log.append(600)
            log.append(600)
            _ = await seen.next()
        }
        let names = NodeFiles.list(log.folder)
        #expect(names.count == LogRotator.maximumFiles)
        #expect(names.first == "0.log")
        for name in names.dropFirst() {
            var info = stat()
            #expect(stat("\(log.folder)/\(name)", &info) == 0 && info.st_size == 1200)
        }
        // Of one that is over nothing is done any more; a second one beside it goes on.
        let other = Log()
        try NodeFiles.makeDirectory(other.folder)
        defer { try? NodeFiles.removeTree(other.folder) }
        rotator.forget("c1", log.path)
        log.append(5000)
        runtime.state.withLock { state in
            state.reopen = { _ in
                other.append(0)
                rotation.yield()
            }
        }
        rotator.follow("c2", other.path)
        other.append(1001)
        _ = await seen.next()
        #expect(NodeFiles.list(other.folder).count == 2)
        #expect(NodeFiles.list(log.folder) == names)
    }
}
