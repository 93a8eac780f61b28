// SPDX-License-Identifier: Apache-2.0

import Glibc
import Storage
import Testing

@Suite(.timeLimit(.minutes(2))) struct DurabilityTests {
    @Test func aStoreOpensAsItWasLeft() async throws {
        let folder = ScratchFolder()
        let first = try SQLiteBackend(path: folder.database)
        _ = try await first.put("/a", bytes("1"), expecting: 0)
        _ = try await first.put("/b", bytes("1"), expecting: 0)
        _ = try await first.delete("/b", expecting: nil)
        // The last revision is a deletion, and compaction takes its row: the count goes on all the same.
        try await first.compact(to: 4)
        await first.close()
        await #expect(throws: StorageError.closed) { try await first.put("/a", [], expecting: nil) }
        let second = try SQLiteBackend(path: folder.database)
        #expect(second.currentRevision == 4)
        #expect(try await second.get("/a")?.value == bytes("1"))
        #expect(try await second.put("/b", bytes("2"), expecting: 0) == .committed(revision: 5))
        await second.close()
    }

    @Test func theFilesAreTheirOwnersOnly() async throws {
        let folder = ScratchFolder()
        let store = try SQLiteBackend(path: folder.database)
        _ = try await store.put("/a", bytes("1"), expecting: 0)
        for name in ScratchFolder.names(in: folder.path) {
            var status = stat()
            #expect(stat("\(folder.path)/\(name)", &status) == 0 && status.st_mode & 0o777 == 0o600, "\(name)")
        }
        await store.close()
    }

    @Test func twoProcessesCannotHaveIt() async throws {
        let folder = ScratchFolder()
        let store = try SQLiteBackend(path: folder.database)
        let error = #expect(throws: StorageError.self) { try SQLiteBackend(path: folder.database) }
        #expect(error?.description.contains("another process has the store open") == true)
        await store.close()
        await (try SQLiteBackend(path: folder.database)).close()
    }

    @Test func filesOfOthersAndDamagedOnesAreNamed() async throws {
        let folder = ScratchFolder()
        write(bytes(String(repeating: "this is no database. ", count: 500)), to: folder.database)
        let error = #expect(throws: StorageError.self) { try SQLiteBackend(path: folder.database) }
        #expect(error?.description.contains("no SQLite database") == true, "\(String(describing: error))")
        let missing = folder.path + "/none/state.db"
        #expect(throws: StorageError.self) { try SQLiteBackend(path: missing) }
    }

    @Test func historyIsGivenUpByItself() async throws {
        let folder = ScratchFolder()
        let store = try SQLiteBackend(path: folder.database, retainedRevisions: 50)
        for index in 0..<400 { _ = try await store.put("/k\(index % 3)", bytes("\(index)"), expecting: nil) }
        // The compaction runs beside the writes; reads say when it has come.
        while store.compactedRevision == 0 { _ = try await store.put("/k", [], expecting: nil) }
        #expect(try await store.range(prefix: "/k").keyValues.count >= 3)
        await store.close()
    }

    /// Sixteen writers leave the store no pause in which it could tidy up.
    @Test func historyIsGivenUpAlsoUnderWritesWithoutEnd() async throws {
        let folder = ScratchFolder()
        let store = try SQLiteBackend(path: folder.database, retainedRevisions: 50)
        let longest = Progress()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<16 {
                group.addTask {
                    for index in 0..<300 {
                        _ = try await store.put("/k\(writer)", bytes("\(index)"), expecting: nil)
                        longest.raise(Int(store.currentRevision - store.compactedRevision))
                    }
                }
            }
            try await group.waitForAll()
        }
        // 4,800 revisions in all; a compaction is due at a hundred, and takes a few groups of writes.
        #expect(longest.value < 1500)
        await store.close()
    }

    /// A crash between two steps of a compaction: what was deleted stays deleted.
    @Test func compactionTakesTheOldestFirst() async throws {
        let folder = ScratchFolder()
        let store = try SQLiteBackend(path: folder.database, retainedRevisions: nil)
        for index in 0..<700 { _ = try await store.put("/gone\(index)", bytes("1"), expecting: 0) }
        for index in 0..<700 { _ = try await store.delete("/gone\(index)", expecting: nil) }
        _ = try await store.put("/kept", bytes("1"), expecting: 0)
        try await store.compact(to: store.currentRevision)
        await store.close()
        let second = try SQLiteBackend(path: folder.database)
        #expect(try await second.range(prefix: "/").keyValues.map(\.key) == ["/kept"])
        #expect(second.currentRevision == 1402)
        await second.close()
    }

    /// A crash is a copy of the files at an instant: what SQLite finds after a SIGKILL. Since the pages of a write are in
    /// the WAL before its commit record, any prefix of the WAL is also what a loss of power can leave.
    @Test func everyAcknowledgedWriteIsThereAfterACrashAndNoneByHalf() async throws {
        let folder = ScratchFolder()
        let store = try SQLiteBackend(path: folder.database, retainedRevisions: nil)
        let database = folder.database
        let crashes = folder.path + "/crash"
        // Larger than a page, so that a value that is torn would show.
        @Sendable func value(_ index: Int) -> [UInt8] {
            [UInt8](repeating: UInt8(index % 251), count: 9000) + bytes("\(index)")
        }
        let acknowledged = Progress()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for index in 1...150 {
                    let result = try await store.put("/k\(index % 10)", value(index), expecting: nil)
                    #expect(result == .committed(revision: Int64(index) + 1))
                    acknowledged.set(index)
                }
            }
            var round = 0
            while acknowledged.value < 150 {
                round += 1
                let atLeast = acknowledged.value
                // A checkpoint between the two reads would make a copy that never was on the disk: it is thrown away.
                let before = read(database)
                let log = read(database + "-wal")
                guard read(database) == before else { continue }
                let copy = "\(crashes)-\(round).db"
                write(before, to: copy)
                write(log, to: copy + "-wal")
                let survivor = try SQLiteBackend(path: copy)
                let revision = survivor.currentRevision
                #expect(revision >= Int64(atLeast) + 1)
                for entry in try await survivor.range(prefix: "/k").keyValues {
                    #expect(entry.value == value(Int(entry.modRevision) - 1), "round \(round), \(entry.key)")
                }
                await survivor.close()
                for suffix in ["", "-wal", "-shm", ".lock"] { unlink(copy + suffix) }
                await Task.yield()
            }
            try await group.waitForAll()
        }
        await store.close()
    }

    @Test func anyPrefixOfTheLogOpensAtAWholeWrite() async throws {
        let folder = ScratchFolder()
        let store = try SQLiteBackend(path: folder.database, retainedRevisions: nil)
        @Sendable func value(_ index: Int) -> [UInt8] { [UInt8](repeating: UInt8(index), count: 6000) }
        var lengths = [read(folder.database + "-wal").count]
        for index in 1...20 {
            _ = try await store.put("/k", value(index), expecting: nil)
            lengths.append(read(folder.database + "-wal").count)
        }
        let main = read(folder.database)
        let log = read(folder.database + "-wal")
        await store.close()
        var random = SplitMix(state: 7)
        for round in 0..<40 {
            let length = Int.random(in: 0...log.count, using: &random)
            let copy = "\(folder.path)/cut-\(round).db"
            write(main, to: copy)
            write(log[..<length], to: copy + "-wal")
            // Below the first length the tables themselves are not there yet, and the store starts empty.
            let whole = lengths.lastIndex { $0 <= length } ?? 0
            let survivor = try SQLiteBackend(path: copy)
            #expect(try await survivor.get("/k")?.value == (whole == 0 ? nil : value(whole)), "cut at \(length)")
            await survivor.close()
        }
    }
}
