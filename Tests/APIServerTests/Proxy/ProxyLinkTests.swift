// SPDX-License-Identifier: Apache-2.0

import CZlib
import HTTPServing
import NIOHTTP1
import Testing
import Values

/// Links in what a proxied backend answers lead back through the proxy.
@Suite struct ProxyLinkTests {
    private static let prefix = "\(ProxyTests.pods)/web:web/proxy"

    @Test func redirectionsLeadThroughTheProxy() async throws {
        try await ProxyTests.with { request in
            HTTPResponse(
                status: 302, headers: ["Location": request.query["to"] ?? "", "Access-Control-Allow-Origin": "*"])
        } _: { fixture, backend in
            for (link, expected) in [
                ("/login?a=1%23", "\(Self.prefix)/login?a=1%23"),
                ("http://10.244.0.5:\(backend)/x/", "\(Self.prefix)/x/"),
                ("//10.244.0.5:\(backend)/x", "\(Self.prefix)/x"),
                ("http://cluster.example/x", "http://cluster.example\(Self.prefix)/x"),
                ("\(Self.prefix)/there", "\(Self.prefix)/there"),
                ("https://elsewhere.example/x", "https://elsewhere.example/x"), ("next/page", "next/page"),
                ("?page=2", "?page=2"), ("mailto:someone@example.org", "mailto:someone@example.org"),
            ] {
                let answer = try await fixture.send(
                    "GET", "\(Self.prefix)/?to=\(PercentCoding.encoded(link))", headers: ["Host": "cluster.example"])
                #expect(answer.status == 302)
                #expect(answer.headers.first(name: "location") == expected)
                #expect(!answer.headers.contains(name: "access-control-allow-origin"))
            }
        }
    }

    private static let page = """
        <!DOCTYPE html><html lang=en><head><title><a href="/t"></title><link rel=stylesheet href=/a.css>
        <!-- <a href="/comment"> --><script src='/s.js'>if (1 < 2) document.write('<a href="/no">')</script >
        <style>a { background: url(/b.png) } </styles></style></head><BODY BACKGROUND="/back.png">
        <A HREF = "/up?a=1&amp;b=2" title=it's>x</A> 1 < 2 <a href="rel"></a><a href="http://other/x">y</a><a href>
        <img alt="a > b" src="/i.png"/><form action='/f' method=post><input formaction=/g><video poster="/p" src="/v">
        <p href="/none">&lt;a href="/text"&gt; <a href="/unfinished
        """
    /// The parts of the page that change.
    private static let links = [
        "rel=stylesheet href=/a.css", "src='/s.js'", "BACKGROUND=\"/back.png\"", "HREF = \"/up?", "\" src=\"/i.png\"",
        "action='/f'", "formaction=/g", "poster=\"/p\"", "src=\"/v\"",
    ]
    private static let rewritten = links.reduce(page) { page, link in
        page.replacing(link, with: link.replacing("/", with: "\(prefix)/"))
    }

    @Test("links in pages, in pieces of any size", arguments: [1, 2, 7, 100_000], [false, true])
    func pages(size: Int, isPacked: Bool) async throws {
        let bytes = isPacked ? try packed(Array(Self.page.utf8)) : Array(Self.page.utf8)
        try await ProxyTests.with { _ in
            var headers: HTTPHeaders = [
                "Content-Type": "text/html; charset=utf-8", "Content-Length": String(bytes.count),
            ]
            if isPacked { headers.add(name: "Content-Encoding", value: "gzip") }
            return HTTPResponse(
                headers: headers,
                body: .stream { writer in
                    for start in stride(from: 0, to: bytes.count, by: size) {
                        try await writer.write(Array(bytes[start..<min(start + size, bytes.count)]))
                    }
                })
        } _: { fixture, _ in
            let answer = try await fixture.send("GET", "\(Self.prefix)/", headers: ["Accept-Encoding": "gzip"])
            #expect(answer.status == 200)
            #expect(answer.text == Self.rewritten)
            #expect(!answer.headers.contains(name: "content-encoding"))
        }
    }

    @Test func whatIsNoPageStaysAsItIs() async throws {
        try await ProxyTests.with { _ in
            HTTPResponse(contentType: "text/plain", bytes: Array(Self.page.utf8))
        } _: { fixture, _ in
            let answer = try await fixture.send("GET", "\(Self.prefix)/")
            #expect(answer.text == Self.page)
        }
    }

    private func packed(_ bytes: [UInt8]) throws -> [UInt8] {
        var stream = z_stream()
        try #require(
            deflateInit2_(
                &stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                CInt(MemoryLayout<z_stream>.size)) == Z_OK)
        defer { deflateEnd(&stream) }
        var input = bytes
        var output = [UInt8](repeating: 0, count: bytes.count + 1000)
        let count = output.count
        input.withUnsafeMutableBufferPointer { source in
            output.withUnsafeMutableBufferPointer { target in
                stream.next_in = source.baseAddress
                stream.avail_in = UInt32(source.count)
                stream.next_out = target.baseAddress
                stream.avail_out = UInt32(target.count)
                deflate(&stream, Z_FINISH)
            }
        }
        return Array(output[..<(count - Int(stream.avail_out))])
    }
}
