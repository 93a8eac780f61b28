// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Values

@testable import ClusterDNS

private func question(_ name: String, _ type: UInt16 = RecordType.a) throws -> Question {
    Question(try #require(DNSName(name)), type)
}

/// What an upstream server would send.
private func message(
    _ question: Question, _ addresses: [String] = [], ttl: UInt32 = 30, code: ResponseCode = .noError
) throws -> [UInt8] {
    let records = try addresses.map { Record(question.name, ttl: ttl, .address(try #require(IPAddress($0)))) }
    return DNSWriter.message(
        Answer(code, answers: records), to: try Query(parsing: DNSWriter.query(question)), limit: 65_535)
}

private func response(
    _ name: String, _ addresses: [String] = ["192.0.2.1"], ttl: UInt32 = 30, code: ResponseCode = .noError
) throws -> ForwardedResponse {
    let question = try question(name)
    return try ForwardedResponse(try message(question, addresses, ttl: ttl, code: code), to: question)
}

@Suite struct ForwardedResponseTests {
    @Test func answersToOtherQuestionsAreRefused() throws {
        let bytes = try message(try question("a.example"), ["192.0.2.1"])
        #expect(throws: DNSFormatError.self) { try ForwardedResponse(bytes, to: try question("b.example")) }
        #expect(throws: DNSFormatError.self) {
            try ForwardedResponse(bytes, to: try question("a.example", RecordType.aaaa))
        }
        #expect(throws: DNSFormatError.self) {
            try ForwardedResponse(DNSWriter.query(try question("a.example")), to: try question("a.example"))
        }
        for end in 0..<bytes.count {
            #expect(throws: DNSFormatError.self) {
                try ForwardedResponse(Array(bytes[..<end]), to: try question("a.example"))
            }
        }
    }

    /// A name that lies in a time to live would be another one a second later. Found by fuzzing.
    @Test func namesAreNotMadeOfWhatChanges() throws {
        let asked = try question("a.example")
        let whole = try message(asked, ["192.0.2.1", "192.0.2.2"], ttl: 0x0161_0000)
        #expect(try ForwardedResponse(whole, to: asked).answers.count == 2)
        // The second record's name points to the first one's time to live, which reads as the name "a".
        let end = DNSWriter.query(asked).count - 11
        var bytes = whole
        bytes[end + 16] = 0xC0
        bytes[end + 17] = UInt8(end + 6)
        #expect(throws: DNSFormatError.self) { try ForwardedResponse(bytes, to: asked) }
    }

    @Test func timesToLiveRunDownAndNotBelowNothing() throws {
        let asked = try question("a.example")
        let response = try response("a.example", ["192.0.2.1", "192.0.2.2"], ttl: 30)
        #expect(response.shortestTTL == 30)
        #expect(try ForwardedResponse(response.reply(id: 7, age: 12), to: asked).shortestTTL == 18)
        #expect(try ForwardedResponse(response.reply(id: 7, age: .max), to: asked).shortestTTL == 0)
        #expect(response.reply(id: 0x0102, age: 0)[..<2] == [1, 2])
        let shuffled = try ForwardedResponse(response.reply(id: 7, age: 0, shuffled: true), to: asked)
        #expect(Set(shuffled.answers) == Set(response.answers))
    }
}

@Suite struct ResponseCacheTests {
    private func key(_ name: String) throws -> ResponseCache.Key {
        ResponseCache.Key(try question(name), wantsEDNS: true)
    }

    @Test func anAnswerIsKeptForAsLongAsItSays() throws {
        let cache = ResponseCache(maximumTTL: 20)
        let start = ContinuousClock.now
        cache.store(try key("short.example"), try response("short.example", ttl: 5), now: start)
        cache.store(try key("long.example"), try response("long.example", ttl: 900), now: start)
        #expect(cache.entry(try key("SHORT.example"), now: start + .seconds(4))?.age == 4)
        #expect(cache.entry(try key("short.example"), now: start + .seconds(5)) == nil)
        #expect(cache.entry(try key("long.example"), now: start + .seconds(19))?.age == 19)
        #expect(cache.entry(try key("long.example"), now: start + .seconds(20)) == nil)
        #expect(cache.count == 0)
    }

    @Test func whatIsNotWorthKeepingIsNotKept() throws {
        let cache = ResponseCache(maximumTTL: 20)
        cache.store(try key("a.example"), try response("a.example", ttl: 0))
        cache.store(try key("b.example"), try response("b.example", code: .serverFailure))
        cache.store(try key("c.example"), try response("c.example", []))
        #expect(cache.count == 0)
        let none = ResponseCache(maximumTTL: 0)
        none.store(try key("a.example"), try response("a.example"))
        #expect(none.count == 0)
    }

    @Test func theOldestGoWhenThereAreTooMany() throws {
        let cache = ResponseCache(maximumTTL: 100, capacity: 3)
        for number in 0..<5 { cache.store(try key("n\(number).example"), try response("n\(number).example")) }
        #expect(cache.count == 3)
        #expect(cache.entry(try key("n1.example")) == nil)
        #expect(cache.entry(try key("n2.example")) != nil)
    }

    /// A name whose answer ran out and came again is young, and not the next to go.
    @Test func whatCameAgainIsYoung() throws {
        let cache = ResponseCache(maximumTTL: 100, capacity: 3)
        let start = ContinuousClock.now
        cache.store(try key("again.example"), try response("again.example", ttl: 1), now: start)
        for name in ["b", "c"] { cache.store(try key("\(name).example"), try response("\(name).example"), now: start) }
        let later = start + .seconds(2)
        #expect(cache.entry(try key("again.example"), now: later) == nil)
        cache.store(try key("again.example"), try response("again.example"), now: later)
        cache.store(try key("d.example"), try response("d.example"), now: later)
        #expect(cache.entry(try key("again.example"), now: later) != nil)
        #expect(cache.entry(try key("b.example"), now: later) == nil)
        // However often: nothing grows.
        for _ in 0..<1000 { cache.store(try key("again.example"), try response("again.example"), now: later) }
        #expect(cache.count == 3)
    }
}

/// A name server on the loopback that answers each question as it is told to.
private final class Upstream: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>
    typealias Answering = @Sendable (_ question: [UInt8]) -> [[UInt8]]

    private let answer: Answering
    private let count = Atomic(0)
    var asked: Int { count.load(ordering: .sequentiallyConsistent) }

    init(_ answer: @escaping Answering) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        count.add(1, ordering: .sequentiallyConsistent)
        for bytes in answer(Array(buffer: envelope.data)) {
            context.writeAndFlush(
                wrapOutboundOut(
                    AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: bytes))),
                promise: nil)
        }
    }

    func start() async throws -> any Channel {
        try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    /// The message with the identifier of the question.
    static func to(_ question: [UInt8], _ message: [UInt8]) -> [UInt8] { Array(question[..<2] + message[2...]) }
}

@Suite(.timeLimit(.minutes(1))) struct ForwarderTests {
    private let asked: Question
    private let good: [UInt8]

    init() throws {
        asked = try question("www.example")
        good = try message(asked, ["192.0.2.7"])
    }

    private func ask(_ upstreams: [Upstream], limit: Int = 0) async throws -> ForwardedResponse {
        var channels: [any Channel] = []
        for upstream in upstreams { channels.append(try await upstream.start()) }
        defer { for channel in channels { channel.close(promise: nil) } }
        let forwarder = Forwarder(
            upstreams: channels.compactMap(\.localAddress), group: .singleton, limit: limit,
            metrics: DNSMetrics(port: 53))
        return try await forwarder.ask(DNSWriter.query(asked), asked, overTCP: false)
    }

    @Test func theFirstThatAnswersIsTaken() async throws {
        let good = good
        let first = Upstream { [Upstream.to($0, good)] }
        let second = Upstream { [Upstream.to($0, good)] }
        #expect(try await ask([first, second]).answers.count == 1)
        #expect(first.asked == 1 && second.asked == 0)
    }

    /// Who guesses answers from beside is not believed: an identifier that is not the question's, another question.
    @Test func answersThatWereNotAskedForArePassedOver() async throws {
        let good = good
        let other = try message(try question("evil.example"), ["203.0.113.66"])
        let upstream = Upstream { question in
            [[question[0] ^ 1] + [question[1]] + good[2...], Upstream.to(question, good)]
        }
        #expect(try await ask([upstream]).answers.first?.data == .address(try #require(IPAddress("192.0.2.7"))))
        let liar = Upstream { [Upstream.to($0, other)] }
        let honest = Upstream { [Upstream.to($0, good)] }
        #expect(try await ask([liar, honest]).answers.first?.name.lowercased == ["www", "example"])
        #expect(liar.asked == 1 && honest.asked == 1)
    }

    @Test func whoFailsIsPassedOverAndToldOfWhenAllDo() async throws {
        let good = good
        let failure = try message(asked, code: .serverFailure)
        let failing = Upstream { [Upstream.to($0, failure)] }
        let honest = Upstream { [Upstream.to($0, good)] }
        #expect(try await ask([failing, honest]).code == 0)
        #expect(try await ask([failing]).code == ResponseCode.serverFailure.rawValue)
        let torn = Upstream { [Upstream.to($0, Array(good.dropLast(3)))] }
        await #expect(throws: Forwarder.Unanswered.self) { try await ask([torn]) }
    }

    @Test func tooManyQuestionsAtOnceAreRefused() async throws {
        let silent = Upstream { _ in [] }
        let channel = try await silent.start()
        defer { channel.close(promise: nil) }
        let forwarder = Forwarder(
            upstreams: [channel.localAddress].compactMap(\.self), group: .singleton, limit: 1,
            metrics: DNSMetrics(port: 53))
        let query = DNSWriter.query(asked)
        // The first waits for a server that never answers; the second is told at once, the first in the end.
        let asked = asked
        await withTaskGroup(of: ContinuousClock.Instant.self) { group in
            let start = ContinuousClock.now
            for _ in 0..<2 {
                group.addTask {
                    await #expect(throws: Forwarder.Unanswered.self) {
                        try await forwarder.ask(query, asked, overTCP: false)
                    }
                    return .now
                }
            }
            let ends = await group.reduce(into: []) { $0.append($1) }.sorted()
            #expect(ends[0] - start < .seconds(1) && ends[1] - start >= .seconds(2))
        }
        #expect(silent.asked == 1)
    }
}

@Suite struct ResolverTests {
    private let resolver = ClusterDNS.Resolver(log: Logger(label: "resolver-test"))
    private let asker = DNSMetrics.Asker(address: "10.244.1.9", overTCP: false, isV6: false)

    private func code(_ outcome: ClusterDNS.Resolver.Outcome) -> UInt8? {
        guard case .now(let bytes) = outcome else { return nil }
        return bytes[3] & 15
    }

    @Test func withoutUpstreamsOnlyTheZoneIsAnswered() throws {
        let own = resolver.answer(DNSWriter.query(try question("no.such.svc.cluster.local")), from: asker)
        #expect(code(own) == ResponseCode.nameError.rawValue)
        let other = resolver.answer(DNSWriter.query(try question("www.example")), from: asker)
        #expect(code(other) == ResponseCode.refused.rawValue)
    }

    @Test func answersAreNotAnsweredAndWhatCannotBeReadIsSaidSo() throws {
        let asked = try question("www.example")
        guard case .nothing = resolver.answer(try message(asked), from: asker) else {
            Issue.record("an answer was answered, as two servers would do for ever")
            return
        }
        guard case .nothing = resolver.answer([1, 2, 3], from: asker) else {
            Issue.record("what is no message was answered")
            return
        }
        let cut = Array(DNSWriter.query(asked).prefix(14))
        #expect(code(resolver.answer(cut, from: asker)) == ResponseCode.formatError.rawValue)
    }

    @Test func anAnswerThatHasNoRoomSaysSo() throws {
        resolver.update { records in
            records.setNamespace("default", exists: true)
            records.setService(ObjectKey("default", "db"), KubeObject(["spec": ["clusterIP": "None"]]))
            records.setSlice(
                ObjectKey("default", "db-1"),
                KubeObject([
                    "metadata": ["namespace": "default", "labels": ["kubernetes.io/service-name": "db"]],
                    "endpoints": .array((1...200).map { ["addresses": [JSON("10.244.1.\($0)")]] }),
                ]))
        }
        var query = DNSWriter.query(try question("db.default.svc.cluster.local"))
        // Without the option that says how much there is room for.
        query[11] = 0
        query.removeLast(11)
        guard case .now(let short) = resolver.answer(query, from: asker),
            case .now(let long) = resolver.answer(query, from: .init(address: "10.244.1.9", overTCP: true, isV6: false))
        else {
            Issue.record("the zone does not answer at once")
            return
        }
        #expect(short.count <= 512 && short[2] & 2 != 0)
        #expect(long.count > 3000 && long[2] & 2 == 0)
    }
}
