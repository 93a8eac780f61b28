// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite(.timeLimit(.minutes(1))) struct InformerTests {
    private let server = CollectionServer()

    /// Runs an informer for the length of `body`.
    private func withInformer(_ body: (Informer) async throws -> Void) async throws {
        let informer = Informer(KubeClient(server), .pods, clock: ImpatientClock())
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await informer.run() }
            await informer.waitUntilSynced()
            try await body(informer)
            group.cancelAll()
        }
    }

    /// Batches until `last` was told.
    private func texts(_ events: AsyncStream<[InformerEvent]>, until last: String) async -> [String] {
        var texts: [String] = []
        for await batch in events {
            texts += batch.map(\.text)
            if texts.contains(last) { break }
        }
        return texts
    }

    @Test func whatIsThereComesFirstThenWhatChanges() async throws {
        server.set("a", value: 1)
        server.set("b", value: 1)
        try await withInformer { informer in
            let events = informer.events()
            #expect(informer.all().count == 2 && informer["default", "a"]?.kind == "Pod")
            #expect(await texts(events, until: "+b=1") == ["+a=1", "+b=1"])
            server.set("a", value: 2)
            #expect(await texts(events, until: "~a=1>2") == ["~a=1>2"])
            server.remove("a")
            #expect(await texts(events, until: "-a=2") == ["-a=2"])
            #expect(informer["default", "a"] == nil)
        }
        #expect(server.lists == 1)
    }

    @Test func aWatchThatBreaksGoesOnWhereItWas() async throws {
        server.set("a", value: 1)
        try await withInformer { informer in
            let events = informer.events()
            _ = await texts(events, until: "+a=1")
            server.disconnect(failures: 5)
            server.set("a", value: 2)
            server.set("b", value: 1)
            #expect(await texts(events, until: "+b=1") == ["~a=1>2", "+b=1"])
        }
        #expect(server.lists == 1)
    }

    @Test func afterTheHistoryIsGoneOnlyDifferencesAreTold() async throws {
        server.set("same", value: 1)
        server.set("changed", value: 1)
        server.set("removed", value: 1)
        server.set("replaced", uid: "1", value: 1)
        try await withInformer { informer in
            let events = informer.events()
            _ = await texts(events, until: "+same=1")
            server.disconnect(compact: true, failures: 1_000_000)
            server.set("changed", value: 2)
            server.remove("removed")
            server.remove("replaced")
            server.set("replaced", uid: "2", value: 3)
            server.set("new", value: 1)
            server.compact()
            server.disconnect()
            var told = await texts(events, until: "-removed=1")
            if told.count < 5 { told += await texts(events, until: "+new=1") }
            #expect(told.sorted() == ["+new=1", "+replaced=3", "-removed=1", "-replaced=1", "~changed=1>2"])
        }
        #expect(server.lists == 2)
    }

    @Test func aSlowReaderGetsOneEventAnObject() async throws {
        try await withInformer { informer in
            let slow = informer.events()
            let fast = informer.events()
            for value in 1...50 { server.set("a", value: value) }
            server.set("gone", value: 1)
            server.remove("gone")
            server.set("end", value: 1)
            _ = await texts(fast, until: "+end=1")
            #expect(await texts(slow, until: "+end=1") == ["+a=50", "+end=1"])
        }
    }

    @Test func whoeverJoinsLateIsToldEverythingOnce() async throws {
        try await withInformer { informer in
            await withTaskGroup(of: [String: Int].self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        // Whatever the instant of joining, replaying the events gives the state.
                        var state: [String: Int] = [:]
                        for await batch in informer.events() {
                            for event in batch {
                                switch event {
                                case .added(let new):
                                    #expect(state[new.name] == nil)
                                    state[new.name] = new["value"].int
                                case .updated(let old, let new):
                                    #expect(state[old.name] == old["value"].int)
                                    state[new.name] = new["value"].int
                                case .deleted(let old): #expect(state.removeValue(forKey: old.name) != nil)
                                }
                            }
                            if state["end"] != nil { break }
                        }
                        return state
                    }
                }
                for value in 0..<300 {
                    if value % 7 == 3 {
                        server.remove("p\(value % 5)")
                    } else {
                        server.set("p\(value % 5)", value: value)
                    }
                    if value % 50 == 49 { server.disconnect() }
                    await Task.yield()
                }
                server.set("end", value: 0)
                for await state in group {
                    #expect(state.count == informer.all().count)
                    for object in informer.all() { #expect(state[object.name] == object["value"].int) }
                }
            }
        }
    }

    @Test func waitingEndsWithItsTask() async {
        let informer = Informer(KubeClient(server), .pods)
        let waiting = Task { await informer.waitUntilSynced() }
        waiting.cancel()
        await waiting.value
        #expect(!informer.hasSynced)
    }

    @Test func theStreamEndsWithTheInformer() async {
        var informer: Informer? = Informer(KubeClient(server), .pods)
        let events = informer?.events()
        informer = nil
        if let events { for await _ in events {} }
    }

    @Test func delaysGrowWithTheOutageUpToABound() {
        var backoff = Backoff()
        let delays = (0..<60).map { _ in backoff.nextExact() }
        #expect(delays[0] == .milliseconds(50) && delays[3] == .milliseconds(50))
        #expect(zip(delays, delays.dropFirst()).allSatisfy { $0 <= $1 } && delays[59] == .seconds(10))
        // Within two seconds of an outage nobody waits longer than half a second.
        var waited = Duration.zero
        for delay in delays where waited < .seconds(2) {
            #expect(delay <= .milliseconds(500))
            waited += delay
        }
        backoff.reset()
        #expect(backoff.nextExact() == .milliseconds(50))
    }
}
