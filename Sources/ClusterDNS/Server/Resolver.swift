// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import Synchronization
import Values

/// Answers a message: at once from the zone or the cache, or later from upstream.
final class Resolver: Sendable {
    enum Outcome: Sendable {
        case now([UInt8])
        case later(@Sendable () async -> [UInt8])
        case nothing
    }

    struct Settings: Sendable {
        var zone = ClusterZone()
        var forwarder: Forwarder?
        var cache: ResponseCache?
        var logsQueries = false
    }

    private let records = Mutex(ClusterRecords())
    private let settings = Mutex(Settings())
    let counters = QueryCounters()
    private let log: Logger

    init(log: Logger) { self.log = log }

    func update(_ change: (inout ClusterRecords) -> Void) { records.withLock { change(&$0) } }
    func configure(_ new: Settings) { settings.withLock { $0 = new } }

    /// A datagram may hold `payloadSize` bytes, a TCP message 65,535.
    func answer(_ message: [UInt8], overTCP: Bool) -> Outcome {
        let query: Query
        do { query = try Query(parsing: message) } catch {
            guard message.count >= 12, message[2] & 0x80 == 0 else { return .nothing }
            return .now(DNSWriter.formatError(id: UInt16(message[0]) << 8 | UInt16(message[1])))
        }
        let limit = overTCP ? 65_535 : query.payloadSize
        let settings = settings.withLock { $0 }
        func write(_ answer: Answer) -> Outcome {
            counters.count(answer.code, cached: false)
            return .now(DNSWriter.message(answer, to: query, limit: limit))
        }
        if settings.logsQueries {
            log.info("query", metadata: ["name": "\(query.question.name)", "type": "\(query.question.type)"])
        }
        guard query.opcode == 0 else { return write(Answer(.notImplemented, isAuthoritative: false)) }
        let local = records.withLock { records in settings.zone.answer(query.question, records) }
        if let local { return write(local) }
        let failure = DNSWriter.message(Answer(.serverFailure, isAuthoritative: false), to: query, limit: limit)
        guard let forwarder = settings.forwarder else { return write(Answer(.refused, isAuthoritative: false)) }
        let key = ResponseCache.Key(
            name: query.question.name.lowercased, type: query.question.type,
            recordClass: query.question.recordClass, wantsEDNS: query.hasEDNS)
        if let cached = settings.cache?.reply(key, id: query.id), cached.count <= limit {
            counters.count(nil, cached: true)
            return .now(cached)
        }
        return .later { [counters] in
            do {
                let response = try await forwarder.ask(message, query.question, overTCP: overTCP)
                settings.cache?.store(key, response)
                counters.count(ResponseCode(rawValue: response.code), cached: false)
                return response.reply(id: query.id, age: 0)
            } catch {
                counters.count(.serverFailure, cached: false)
                return failure
            }
        }
    }
}

/// How many questions were answered, and how.
final class QueryCounters: Sendable {
    private let codes = Mutex<[UInt8: Int]>([:])
    private let cacheHits = Atomic(0)

    func count(_ code: ResponseCode?, cached: Bool) {
        if cached { cacheHits.add(1, ordering: .relaxed) }
        if let code { codes.withLock { $0[code.rawValue, default: 0] += 1 } }
    }

    /// In Prometheus' text format, by CoreDNS' names.
    var exposition: String {
        let names: [UInt8: String] = [
            0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED",
        ]
        var text = "# TYPE coredns_dns_responses_total counter\n"
        for (code, count) in codes.withLock({ $0 }).sorted(by: { $0.key < $1.key }) {
            text += "coredns_dns_responses_total{server=\"dns://:53\",rcode=\"\(names[code] ?? "\(code)")\"} \(count)\n"
        }
        text += "# TYPE coredns_cache_hits_total counter\n"
        return text + "coredns_cache_hits_total{server=\"dns://:53\"} \(cacheHits.load(ordering: .relaxed))\n"
    }
}
