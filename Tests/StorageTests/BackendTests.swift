// SPDX-License-Identifier: Apache-2.0

import Storage
import Testing

/// What both stores must do, step by step.
@Suite(.timeLimit(.minutes(1))) struct BackendTests {
    enum Kind: CaseIterable { case memory, sqlite }

    private func withBackend(
        _ kind: Kind, watcherLimit: Int = 8192, _ body: (any Backend) async throws -> Void
    ) async throws {
        switch kind {
        case .memory: try await body(MemoryBackend(watcherLimit: watcherLimit))
        case .sqlite:
            let folder = ScratchFolder()
            let backend = try SQLiteBackend(path: folder.database, watcherLimit: watcherLimit)
            try await body(backend)
            await backend.close()
        }
    }

    @Test(arguments: Kind.allCases) func revisionsCountWritesThatTakePlace(kind: Kind) async throws {
        try await withBackend(kind) { store async throws in
            #expect(await store.currentRevision == 1)
            #expect(try await store.put("/a", bytes("1"), expecting: 0) == .committed(revision: 2))
            #expect(
                try await store.put("/a", bytes("x"), expecting: 0)
                    == .conflict(current: KeyValue(key: "/a", value: bytes("1"), createRevision: 2, modRevision: 2)))
            #expect(try await store.put("/a", bytes("2"), expecting: 2) == .committed(revision: 3))
            #expect(try await store.put("/b", bytes("1"), expecting: 7) == .conflict(current: nil))
            #expect(try await store.delete("/b", expecting: nil) == .notFound)
            let current = KeyValue(key: "/a", value: bytes("2"), createRevision: 2, modRevision: 3)
            #expect(try await store.delete("/a", expecting: 2) == .conflict(current: current))
            #expect(try await store.delete("/a", expecting: 3) == .deleted(revision: 4, previous: current))
            #expect(try await store.get("/a") == nil)
            #expect(try await store.put("/a", bytes("3"), expecting: 0) == .committed(revision: 5))
            #expect(try await store.get("/a")?.createRevision == 5)
            #expect(await store.currentRevision == 5)
        }
    }

    @Test(arguments: Kind.allCases) func thePastIsReadAsItWas(kind: Kind) async throws {
        try await withBackend(kind) { store async throws in
            _ = try await store.put("/p/a", bytes("1"), expecting: nil)  // 2
            _ = try await store.put("/p/b", bytes("1"), expecting: nil)  // 3
            _ = try await store.put("/p/a", bytes("2"), expecting: nil)  // 4
            _ = try await store.delete("/p/b", expecting: nil)  // 5
            _ = try await store.put("/p/c", bytes("1"), expecting: nil)  // 6
            #expect(try await store.get("/p/a", at: 3)?.value == bytes("1"))
            #expect(try await store.get("/p/b", at: 4)?.modRevision == 3)
            #expect(try await store.get("/p/b", at: 5) == nil)
            #expect(try await store.get("/p/c", at: 5) == nil)
            let past = try await store.range(prefix: "/p/", from: nil, limit: 1, at: 4)
            #expect(past.keyValues.map(\.key) == ["/p/a"] && past.revision == 4 && past.remainingCount == 1)
            let rest = try await store.range(prefix: "/p/", from: "/p/a\0", limit: nil, at: 4)
            #expect(rest.keyValues.map(\.key) == ["/p/b"] && !rest.hasMore)
            await #expect(throws: StorageError.futureRevision(requested: 9, current: 6)) {
                try await store.get("/p/a", at: 9)
            }
        }
    }

    @Test(arguments: Kind.allCases) func rangesFollowTheBytesOfTheKeys(kind: Kind) async throws {
        try await withBackend(kind) { store async throws in
            // "é" composed and decomposed are one string to Swift and two keys here.
            let keys = ["/a", "/a/", "/a/b", "/a/b/c", "/a/\u{E9}", "/a/e\u{301}", "/a/\u{10FFFF}", "/a0", "/b", "/"]
            for key in keys { _ = try await store.put(key, bytes(key), expecting: 0) }
            let below = try await store.range(prefix: "/a/")
            #expect(
                below.keyValues.map { bytes($0.key) } == [
                    bytes("/a/"), bytes("/a/b"), bytes("/a/b/c"), bytes("/a/e\u{301}"), bytes("/a/\u{E9}"),
                    bytes("/a/\u{10FFFF}"),
                ])
            #expect(try await store.range(prefix: "").keyValues.count == keys.count)
            #expect(try await store.range(prefix: "/c").keyValues.isEmpty)
            let page = try await store.range(prefix: "/a/", from: "/a/b\0", limit: 2, at: nil)
            #expect(page.keyValues.map(\.key) == ["/a/b/c", "/a/e\u{301}"] && page.remainingCount == 2)
            let before = try await store.range(prefix: "/a/", from: "/", limit: 0, at: nil)
            #expect(before.keyValues.isEmpty && before.remainingCount == 6)
            _ = try await store.put("/z", [], expecting: nil)
            let past = try await store.range(prefix: "/a/", from: nil, limit: nil, at: 11)
            #expect(past.keyValues == below.keyValues)
        }
    }

    @Test(arguments: Kind.allCases) func watchesTellWhatWasAndWhatComes(kind: Kind) async throws {
        try await withBackend(kind) { store async throws in
            _ = try await store.put("/w/a", bytes("1"), expecting: nil)  // 2
            _ = try await store.put("/other", bytes("1"), expecting: nil)  // 3
            _ = try await store.put("/w/a", bytes("2"), expecting: nil)  // 4
            let watch = try await store.watch(prefix: "/w/", after: 2)
            #expect(watch.caughtUpRevision == nil)
            _ = try await store.delete("/w/a", expecting: nil)  // 5
            _ = try await store.put("/w/a", bytes("3"), expecting: nil)  // 6
            #expect(
                try await take(3, from: watch) == [
                    StoreEvent(
                        kind: .put, key: "/w/a", value: bytes("2"), previousValue: bytes("1"), revision: 4,
                        createRevision: 2),
                    StoreEvent(
                        kind: .delete, key: "/w/a", value: bytes("2"), previousValue: bytes("2"), revision: 5,
                        createRevision: 2),
                    StoreEvent(
                        kind: .put, key: "/w/a", value: bytes("3"), previousValue: nil, revision: 6, createRevision: 6),
                ])
            #expect(watch.caughtUpRevision == 6)
            _ = try await store.put("/other", bytes("2"), expecting: nil)
            #expect(watch.caughtUpRevision == 7)
            _ = try await store.put("/w/b", bytes("1"), expecting: nil)
            #expect(watch.caughtUpRevision == nil)
            await #expect(throws: StorageError.futureRevision(requested: 10, current: 8)) {
                try await store.watch(prefix: "/", after: 10)
            }
        }
    }

    @Test(arguments: Kind.allCases) func compactionEndsThePastAndKeepsThePresent(kind: Kind) async throws {
        try await withBackend(kind) { store async throws in
            for index in 0..<100 { _ = try await store.put("/k\(index % 5)", bytes("\(index)"), expecting: nil) }
            _ = try await store.delete("/k4", expecting: nil)  // 102
            _ = try await store.put("/k0", bytes("last"), expecting: nil)  // 103
            let now = try await store.range(prefix: "/")
            let past = try await store.range(prefix: "/", from: nil, limit: nil, at: 102)
            try await store.compact(to: 102)
            #expect(await store.compactedRevision == 102)
            #expect(try await store.range(prefix: "/") == now)
            #expect(try await store.range(prefix: "/", from: nil, limit: nil, at: 102) == past)
            await #expect(throws: StorageError.compacted(requested: 101, compacted: 102)) {
                try await store.get("/k0", at: 101)
            }
            await #expect(throws: StorageError.compacted(requested: 50, compacted: 102)) {
                try await store.watch(prefix: "/", after: 50)
            }
            let event = try #require(try await take(1, from: store.watch(prefix: "/", after: 102)).first)
            #expect(event.revision == 103 && event.previousValue == bytes("95"))
        }
    }

    @Test(arguments: Kind.allCases) func aWatcherThatLagsIsEndedAndOthersGoOn(kind: Kind) async throws {
        try await withBackend(kind, watcherLimit: 10) { store async throws in
            let slow = try await store.watch(prefix: "/", after: 1)
            let other = try await store.watch(prefix: "/b", after: 1)
            for index in 0..<11 { _ = try await store.put("/a\(index)", [], expecting: nil) }
            _ = try await store.put("/b", [], expecting: nil)
            await #expect(throws: StorageError.lagged) { for try await _ in slow {} }
            #expect(try await take(1, from: other).map(\.key) == ["/b"])
        }
    }

    @Test(arguments: Kind.allCases) func concurrentWritersOfOneKeyNeverLoseAnUpdate(kind: Kind) async throws {
        try await withBackend(kind) { store async throws in
            _ = try await store.put("/n", bytes("0"), expecting: 0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        var done = 0
                        while done < 25 {
                            let current = try #require(try await store.get("/n"))
                            let number = try #require(Int(String(decoding: current.value, as: UTF8.self)))
                            let result = try await store.put(
                                "/n", bytes("\(number + 1)"), expecting: current.modRevision)
                            if case .committed = result { done += 1 }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await store.get("/n")?.value == bytes("200"))
            #expect(await store.currentRevision == 202)
        }
    }

    @Test(arguments: Kind.allCases) func watchersHearOfEveryRevisionOnceAndInOrder(kind: Kind) async throws {
        try await withBackend(kind) { store async throws in
            try await withThrowingTaskGroup(of: Void.self) { group in
                let total = 400
                for writer in 0..<4 {
                    group.addTask {
                        for index in 0..<(total / 4) {
                            _ = try await store.put("/x/\(writer)/\(index % 7)", bytes("\(index)"), expecting: nil)
                        }
                    }
                }
                for _ in 0..<4 {
                    group.addTask {
                        // Each begins wherever the store is by now.
                        let start = await store.currentRevision
                        let watch = try await store.watch(prefix: "/x/", after: start)
                        let events = try await take(Int(Int64(total) + 1 - start), from: watch)
                        #expect(events.map(\.revision) == Array((start + 1)..<(Int64(total) + 2)))
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
