// SPDX-License-Identifier: Apache-2.0

package import Logging
import NIOCore
import Synchronization
import Values

/// Answers a message: at once from the zone or the cache, or later from upstream.
package final class Resolver: Sendable {
    package enum Outcome: Sendable {
        case now([UInt8])
        case later(@Sendable () async -> [UInt8])
        case nothing
    }

    struct Settings: Sendable {
        var zone = ClusterZone()
        var forwarder: Forwarder?
        var cache: ResponseCache?
        var corefile = Corefile()
    }

    /// The name that `loop` asks its upstreams for, and whether the question came back.
    private struct LoopProbe {
        var name: [String] = []
        var cameBack = false
    }

    private static let hostInformation: UInt16 = 13
    private let records = Mutex(ClusterRecords())
    private let settings = Mutex(Settings())
    private let probe = Mutex(LoopProbe())
    let metrics: DNSMetrics
    /// Questions that are on their way upstream: one client leaves room for three others.
    private let upstream: Mutex<ClientLimits>
    private let log: Logger

    package init(log: Logger, port: Int = 53) {
        self.log = log
        metrics = DNSMetrics(port: port)
        upstream = Mutex(Self.limits(Corefile()))
    }

    private static func limits(_ corefile: Corefile) -> ClientLimits {
        let all = corefile.maximumConcurrent == 0 ? 10_000 : corefile.maximumConcurrent
        return ClientLimits(each: max(1, all / 4), all: all)
    }

    package func update(_ change: (inout ClusterRecords) -> Void) { records.withLock { change(&$0) } }

    func configure(_ new: Settings) {
        settings.withLock { $0 = new }
        upstream.withLock { $0 = Self.limits(new.corefile) }
    }

    var exposition: String {
        let settings = settings.withLock { $0 }
        return metrics.exposition(settings.corefile, cached: settings.cache?.count ?? 0)
    }

    /// A datagram may hold `payloadSize` bytes, a TCP message 65,535.
    package func answer(_ message: [UInt8], from asker: DNSMetrics.Asker) -> Outcome {
        let start = ContinuousClock.now
        let query: Query
        do { query = try Query(parsing: message) } catch {
            guard message.count >= 12, message[2] & 0x80 == 0 else { return .nothing }
            let answer = DNSWriter.formatError(id: UInt16(message[0]) << 8 | UInt16(message[1]))
            metrics.count(nil, asker, size: message.count, answer: answer, since: start)
            return .now(answer)
        }
        let counted = { @Sendable [metrics] (bytes: [UInt8]) -> [UInt8] in
            metrics.count(query.question, asker, size: message.count, answer: bytes, since: start)
            return bytes
        }
        switch resolve(message, query, asker) {
        case .now(let bytes): return .now(counted(bytes))
        case .later(let work): return .later { counted(await work()) }
        case .nothing: return .nothing
        }
    }

    private func resolve(_ message: [UInt8], _ query: Query, _ asker: DNSMetrics.Asker) -> Outcome {
        let limit = asker.overTCP ? 65_535 : query.payloadSize
        let settings = settings.withLock { $0 }
        let shuffles = settings.corefile.loadBalances
        let write = { @Sendable (answer: Answer) -> [UInt8] in
            DNSWriter.message(shuffles ? answer.shuffled() : answer, to: query, limit: limit)
        }
        if settings.corefile.logsQueries {
            log.info("query", metadata: ["name": "\(query.question.name)", "type": "\(query.question.type)"])
        }
        guard query.opcode == 0 else { return .now(write(Answer(.notImplemented, isAuthoritative: false))) }
        if isProbe(query.question) { return .now(write(Answer(.refused, isAuthoritative: false))) }
        let refused = write(Answer(.refused, isAuthoritative: false))
        let failed = write(Answer(.serverFailure, isAuthoritative: false))
        let local = records.withLock { records in settings.zone.answer(query.question, records) }
        if let local {
            guard let pending = local.pending, let forwarder = settings.forwarder else { return .now(write(local)) }
            return later(settings, query.question, asker, refused, failed) { [self] in
                let response = try await ask(forwarder, pending, settings.cache)
                guard response.code != ResponseCode.serverFailure.rawValue else { throw Forwarder.Unanswered() }
                var whole = local
                whole.answers += response.answers
                whole.isAuthoritative = false
                return write(whole)
            }
        }
        guard let forwarder = settings.forwarder else { return .now(refused) }
        let key = ResponseCache.Key(query.question, wantsEDNS: query.hasEDNS)
        if let cache = settings.cache {
            let found = cache.entry(key)
            metrics.cacheAnswered(found?.response.code)
            if let found {
                let reply = found.response.reply(id: query.id, age: found.age, shuffled: shuffles)
                if reply.count <= limit { return .now(reply) }
            }
        }
        return later(settings, query.question, asker, refused, failed) {
            let response = try await forwarder.ask(message, query.question, overTCP: asker.overTCP)
            settings.cache?.store(key, response)
            return response.reply(id: query.id, age: 0, shuffled: shuffles)
        }
    }

    /// Does what has to go upstream, unless the client has too much on its way already.
    private func later(
        _ settings: Settings, _ question: Question, _ asker: DNSMetrics.Asker, _ refused: [UInt8], _ failed: [UInt8],
        _ work: @escaping @Sendable () async throws -> [UInt8]
    ) -> Outcome {
        let limits = upstream.withLock { $0 }
        guard limits.enter(asker.address) else {
            metrics.rejected()
            return .now(refused)
        }
        return .later { [log] in
            defer { limits.leave(asker.address) }
            do { return try await work() } catch {
                if settings.corefile.logsErrors {
                    log.error(
                        "no upstream server answered",
                        metadata: [
                            "name": "\(question.name)", "type": "\(question.type)", "client": "\(asker.address)",
                        ])
                }
                return failed
            }
        }
    }

    /// A question of the server's own, over TCP where the answer is too long for a datagram.
    private func ask(_ forwarder: Forwarder, _ question: Question, _ cache: ResponseCache?) async throws
        -> ForwardedResponse
    {
        let key = ResponseCache.Key(question, wantsEDNS: true)
        if let kept = cache?.entry(key)?.response { return kept }
        let message = DNSWriter.query(question)
        var response = try await forwarder.ask(message, question, overTCP: false)
        if response.isTruncated { response = try await forwarder.ask(message, question, overTCP: true) }
        cache?.store(key, response)
        return response
    }

    // MARK: - loop

    private func isProbe(_ question: Question) -> Bool {
        guard question.type == Self.hostInformation else { return false }
        return probe.withLock { probe in
            guard !probe.name.isEmpty, question.name.lowercased == probe.name else { return false }
            probe.cameBack = true
            return true
        }
    }

    /// Asks the upstreams for a name that nobody has, and sees whether the question comes back here.
    func leadsBack(_ forwarder: Forwarder) async -> Bool {
        let labels = (0..<2).map { _ in String(UInt64.random(in: 0 ... .max)) }
        let question = Question(DNSName(labels: labels.map { Array($0.utf8) }), Self.hostInformation)
        probe.withLock { $0 = LoopProbe(name: labels) }
        _ = try? await forwarder.ask(DNSWriter.query(question), question, overTCP: false)
        return probe.withLock { probe in
            defer { probe = LoopProbe() }
            return probe.cameBack
        }
    }
}

extension Answer {
    /// With its addresses in another order; aliases stay before what they lead to.
    func shuffled() -> Answer {
        guard answers.count > 1 else { return self }
        var copy = self
        let addresses = answers.filter { $0.data.isAddress }.shuffled()
        copy.answers = answers.filter { !$0.data.isAddress } + addresses
        return copy
    }
}

extension RecordData {
    fileprivate var isAddress: Bool { if case .address = self { true } else { false } }
}
