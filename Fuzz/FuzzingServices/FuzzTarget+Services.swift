// SPDX-License-Identifier: Apache-2.0

import ClusterDNS
import ContainerRuntime
import Dispatch
public import Fuzzing
import Glibc
import HTTPServing
import KubeClient
import KubeObjects
import Kubelet
import Linux
import Logging
import NIOHTTP1
import Storage
import Values

extension FuzzTarget {
    /// The parsers of the services, which bring NIO along.
    public static let services: [FuzzTarget] =
        [
            FuzzTarget("dns") { (bytes: [UInt8]) in _ = try? ClusterDNS.Query(parsing: bytes) },
            FuzzTarget("dns-resolver", answerQuestion),
            FuzzTarget("dns-forward", takeFromUpstream),
            FuzzTarget("wal") { bytes in
                let log = WriteAheadLog(bytes, pageSize: 512)
                precondition(log.damageOffset ?? 0 <= bytes.count, "the damage is behind the end")
                precondition((log.damageOffset == nil) == (log.commitsBehindDamage == 0), "damage without a place")
            },
            FuzzTarget(text: "corefile") { text in _ = try? Corefile(parsing: text) },
            FuzzTarget("spdy", receiveSPDY),
            FuzzTarget("spdy-headers") { bytes in
                _ = try? SPDYHeaderBlock.decode(bytes)
                _ = try? SPDYHeaderDecompressor().decompress(bytes)
            },
            FuzzTarget("websocket") { bytes in
                var decoder = WebSocketDecoder(maximumMessage: 1 << 16)
                let middle = bytes.count / 2
                guard (try? decoder.feed(bytes[..<middle])) != nil else { return }
                _ = try? decoder.feed(bytes[middle...])
            },
            FuzzTarget(text: "upgrade") { text in
                // A request's target, then its headers, a line each.
                let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
                _ = HTTPRequest(method: "GET", target: lines.first ?? "")
                let offers = WebSocketHandshake.offers(Array(lines.dropFirst(3)))
                _ = RemoteCommand.negotiate(offers)
                _ = WebSocketHandshake.answer(
                    key: lines.count > 1 ? lines[1] : nil, version: lines.count > 2 ? lines[2] : nil,
                    chosen: offers.first)
            },
            FuzzTarget(text: "kubeconfig") { text in _ = try? Kubeconfig(text: text).contextNames },
            FuzzTarget("image-reference") { bytes in _ = try? ImageReference(String(decoding: bytes, as: UTF8.self)) },
            FuzzTarget("image-archive") { bytes in
                var template = Array("/tmp/catbird-fuzz-XXXXXX".utf8CString)
                guard mkdtemp(&template) != nil else { return }
                let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
                let archive = folder + "/archive.tar"
                guard let file = fopen(archive, "w") else { return }
                fwrite(bytes, 1, bytes.count, file)
                fclose(file)
                let done = DispatchSemaphore(value: 0)
                Task.detached {
                    _ = try? await ImageStore(root: folder + "/images").load(archive: archive)
                    done.signal()
                }
                done.wait()
                try? Files.removeTree(folder)
            },
        ] + apiServer

    private static let resolver: Resolver = {
        var log = Logger(label: "fuzz")
        log.logLevel = .critical
        let resolver = Resolver(log: log)
        resolver.update { records in
            records.setNamespace("default", exists: true)
            records.setService(
                ObjectKey("default", "web"),
                KubeObject([
                    "spec": ["clusterIP": "10.96.1.1", "ports": [["name": "http", "port": 80, "protocol": "TCP"]]]
                ]))
            records.setService(ObjectKey("default", "db"), KubeObject(["spec": ["clusterIP": "None"]]))
            records.setSlice(
                ObjectKey("default", "db-1"),
                KubeObject([
                    "metadata": ["namespace": "default", "labels": ["kubernetes.io/service-name": "db"]],
                    "ports": [["name": "sql", "port": 5432, "protocol": "TCP"]],
                    "endpoints": .array(
                        (1...60).map { ["addresses": [JSON("10.244.1.\($0)")], "hostname": JSON("db-\($0)")] }),
                ]))
        }
        return resolver
    }()

    /// A client's message, as a datagram and on a connection.
    private static func answerQuestion(_ bytes: [UInt8]) {
        for overTCP in [false, true] {
            let asker = DNSMetrics.Asker(address: "10.244.1.9", overTCP: overTCP, isV6: false)
            guard case .now(let answer) = resolver.answer(bytes, from: asker) else { continue }
            precondition(answer.count >= 12 && answer[..<2] == bytes[..<2], "an answer to somebody else")
            let room = overTCP ? 65_535 : (try? ClusterDNS.Query(parsing: bytes))?.payloadSize ?? 512
            precondition(answer.count <= room, "an answer that the client has no room for")
        }
    }

    /// What another server answered, kept and given to the next who asks.
    private static func takeFromUpstream(_ bytes: [UInt8]) {
        // The question is the one that it claims to answer.
        guard bytes.count > 12 else { return }
        var asked = bytes
        asked[2] &= 0x7F
        for index in 6..<12 { asked[index] = 0 }
        guard let question = (try? ClusterDNS.Query(parsing: asked))?.question,
            let response = try? ForwardedResponse(bytes, to: question)
        else { return }
        let cache = ResponseCache(maximumTTL: 3600)
        cache.store(ResponseCache.Key(question, wantsEDNS: true), response)
        let found = cache.entry(ResponseCache.Key(question, wantsEDNS: true))
        precondition((found != nil) == (cache.count == 1), "what was kept is not found")
        for age: UInt32 in [0, 1, .max] {
            let reply = response.reply(id: 0x1234, age: age, shuffled: true)
            precondition(reply.count == bytes.count && reply[0] == 0x12 && reply[1] == 0x34, "a reply changes its size")
            guard let again = try? ForwardedResponse(reply, to: question) else {
                preconditionFailure("a reply cannot be read any more")
            }
            precondition(again.answers.count == response.answers.count, "a reply loses records")
        }
    }

    /// In two pieces: frames are cut anywhere.
    private static func receiveSPDY(_ bytes: [UInt8]) {
        var session = SPDYSession(role: .server)
        let middle = bytes.count / 2
        for piece in [bytes[..<middle], bytes[middle...]] {
            guard let events = try? session.receive(piece) else { return }
            for case .opened(let stream, _) in events { try? session.reply(stream) }
        }
        _ = session.takeOutput()
    }
}
