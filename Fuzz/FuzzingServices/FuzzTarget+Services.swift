// SPDX-License-Identifier: Apache-2.0

import ClusterDNS
import ContainerRuntime
import Dispatch
public import Fuzzing
import Glibc
import HTTPServing
import KubeClient
import Kubelet
import Linux
import NIOHTTP1

extension FuzzTarget {
    /// The parsers of the services, which bring NIO along.
    public static let services: [FuzzTarget] =
        [
            FuzzTarget("dns") { (bytes: [UInt8]) in _ = try? ClusterDNS.Query(parsing: bytes) },
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
