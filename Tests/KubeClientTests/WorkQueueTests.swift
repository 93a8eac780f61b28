// SPDX-License-Identifier: Apache-2.0

import KubeClient
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct WorkQueueTests {
    private struct Failure: Error {}

    /// What workers have seen.
    private final class Record: Sendable {
        private struct State {
            var working: Set<Int> = []
            var counts: [Int: Int] = [:]
            var overlaps = 0
            var most = 0
        }

        private let state = Mutex(State())
        private let continuation: AsyncStream<Int>.Continuation
        let done: AsyncStream<Int>

        init() { (done, continuation) = AsyncStream.makeStream() }

        /// Returns when so many keys have been worked on.
        func finished(_ count: Int) async {
            var left = count
            for await _ in done {
                left -= 1
                if left == 0 { break }
            }
        }

        func begin(_ key: Int) -> Int {
            state.withLock { state in
                if !state.working.insert(key).inserted { state.overlaps += 1 }
                state.most = max(state.most, state.working.count)
                state.counts[key, default: 0] += 1
                return state.counts[key] ?? 0
            }
        }

        func end(_ key: Int) {
            state.withLock { _ = $0.working.remove(key) }
            continuation.yield(key)
        }

        var counts: [Int: Int] { state.withLock { $0.counts } }
        var overlaps: Int { state.withLock { $0.overlaps } }
        var most: Int { state.withLock { $0.most } }
    }

    private func run(
        _ queue: WorkQueue<Int>, workers: Int, _ body: @escaping @Sendable (Int) async throws -> Void,
        during test: () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await queue.run(workers: workers, body) }
            try await test()
            group.cancelAll()
        }
    }

    @Test func aKeyIsNeverWorkedOnTwiceAtOnce() async throws {
        let queue = WorkQueue<Int>()
        let record = Record()
        try await run(queue, workers: 4) { key in
            _ = record.begin(key)
            for _ in 0..<5 { await Task.yield() }
            record.end(key)
        } during: {
            for round in 0..<500 {
                queue.add(round % 3)
                if round % 10 == 0 { await Task.yield() }
            }
            queue.add(99)
            for await key in record.done where key == 99 { break }
            while queue.count > 0 { await Task.yield() }
        }
        #expect(record.overlaps == 0)
        #expect(Set(record.counts.keys) == [0, 1, 2, 99])
    }

    @Test func noMoreThanTheWorkersWorkAtOnce() async throws {
        let queue = WorkQueue<Int>()
        let record = Record()
        queue.add(0..<50)
        try await run(queue, workers: 3) { key in
            _ = record.begin(key)
            await Task.yield()
            record.end(key)
        } during: {
            await record.finished(50)
        }
        #expect(record.most <= 3 && record.counts.count == 50)
    }

    @Test func aKeyAddedWhileItIsWorkedOnIsWorkedOnAgain() async throws {
        let queue = WorkQueue<Int>()
        let record = Record()
        queue.add(1)
        try await run(queue, workers: 2) { key in
            if record.begin(key) == 1 {
                queue.add(key)
                queue.add(key)
            }
            record.end(key)
        } during: {
            await record.finished(2)
            while queue.count > 0 { await Task.yield() }
        }
        #expect(record.counts == [1: 2])
    }

    @Test func aFailureIsTriedAgainUntilItSucceeds() async throws {
        let queue = WorkQueue<Int>(clock: ImpatientClock())
        let record = Record()
        queue.add(1)
        try await run(queue, workers: 1) { key in
            guard record.begin(key) == 5 else {
                record.end(key)
                throw Failure()
            }
            record.end(key)
        } during: {
            await record.finished(5)
            while queue.count > 0 { await Task.yield() }
        }
        #expect(record.counts == [1: 5])
    }

    /// What a worker writes comes back to its queue as any other change does.
    @Test func anEchoDoesNotCutADelayShort() async throws {
        let queue = WorkQueue<Int>(leastDelay: .seconds(3600), mostDelay: .seconds(3600))
        let record = Record()
        let origins = Mutex<[WorkOrigin]>([])
        queue.add(1)
        try await run(queue, workers: 1) { key in
            let origin = try #require(WorkOrigin.current)
            origins.withLock { $0.append(origin) }
            // The write of the status of what is about to fail: its echo is there before the failure is.
            let count = record.begin(key)
            if key == 1, count <= 3 { WorkOrigin.echoing([origin]) { queue.add(key) } }
            record.end(key)
            if key == 1, count < 3 { throw Failure() }
        } during: {
            await record.finished(1)
            while queue.count > 0 { await Task.yield() }
            let origin = try #require(origins.withLock { $0.first })
            // Behind the failure too, and whatever else is told of with it.
            WorkOrigin.echoing([origin]) { queue.add(1) }
            WorkOrigin.echoing([origin]) { queue.add(2) }
            await record.finished(1)
            while queue.count > 0 { await Task.yield() }
            #expect(record.counts == [1: 1, 2: 1])
            // What others change wakes it at once.
            queue.add(1)
            await record.finished(1)
            WorkOrigin.echoing([]) { queue.add(1) }
            // In order by now, so that its echo counts: once more, to see what came of the write.
            await record.finished(2)
            while queue.count > 0 { await Task.yield() }
        }
        #expect(record.counts[2] == 1 && (record.counts[1] ?? 0) >= 4)
        // It is one work until it is in order.
        let first = origins.withLock { Array($0.prefix(1)) }
        #expect(origins.withLock { $0.filter { first.contains($0) }.count } == 3)
    }

    @Test func whatWaitsForItsTimeIsNotLostWhenTheRunIsCancelled() async throws {
        let queue = WorkQueue<Int>()
        let record = Record()
        try await run(queue, workers: 1) { key in
            _ = record.begin(key)
            record.end(key)
        } during: {
            queue.addAfter(7, .seconds(3600))
            queue.add(1)
            for await _ in record.done { break }
        }
        let again = Record()
        try await run(queue, workers: 1) { key in
            _ = again.begin(key)
            again.end(key)
        } during: {
            for await key in again.done where key == 7 { break }
            for key in 100..<110 {
                queue.add(key)
                for await done in again.done where done == key { break }
            }
        }
        #expect(again.counts[7] == 1 && again.counts.count >= 11)
    }

    @Test func theShortestOfSeveralDelaysCounts() async throws {
        let queue = WorkQueue<Int>()
        let record = Record()
        try await run(queue, workers: 1) { key in
            _ = record.begin(key)
            record.end(key)
        } during: {
            queue.addAfter(1, .seconds(3600))
            queue.addAfter(1, .milliseconds(1))
            queue.addAfter(1, .seconds(7200))
            for await _ in record.done { break }
        }
        #expect(record.counts == [1: 1])
    }
}
