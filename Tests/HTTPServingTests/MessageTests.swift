// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Testing
import Values

@Suite struct MessageTests {
    @Test func queriesAreDecodedInOrder() throws {
        let query = try #require(QueryItems(parsing: "command=ls&command=-l%20%2F&stdin&tty=true&a=b=c&x=%C3%A9+z"))
        #expect(query.all("command") == ["ls", "-l /"])
        #expect(query["stdin"] == "" && query["a"] == "b=c" && query["x"] == "é z")
        #expect(
            query.bool("tty") == true && query.bool("stdin") == true && query.bool("none") == nil
                && query["none"] == nil)
    }

    @Test(arguments: ["%", "a=%4", "a=%GG", "%ff=x"]) func brokenEscapesAreNoQuery(text: String) {
        #expect(QueryItems(parsing: text) == nil)
    }

    @Test func targetsComeAsPathOrAsURL() throws {
        let absolute = try #require(HTTPRequest(method: "GET", target: "http://proxy:1/a/b?c=d"))
        #expect(absolute.path == "/a/b" && absolute.query["c"] == "d")
        let empty = try #require(HTTPRequest(method: "GET", target: "https://host"))
        #expect(empty.path == "/")
        #expect(try #require(HTTPRequest(method: "GET", target: "/a%2Fb?")).path == "/a/b")
    }

    @Test func encodingIsUndoneByDecoding() {
        let text = "a b/c?d&e=f%g+é\u{0}~"
        #expect(PercentCoding.decoded(PercentCoding.encoded(text)) == text)
        #expect(PercentCoding.encoded("/a:b c", allowing: "/:") == "/a:b%20c")
    }

    @Test func aStreamIsPulledByItsReaderInThisProcess() async throws {
        let body = HTTPResponseBody.stream { writer in
            for index in 0..<1000 { try await writer.write("\(index),") }
        }
        var text = ""
        for try await piece in body.pieces() { text += String(decoding: piece, as: UTF8.self) }
        #expect(text == (0..<1000).map { "\($0)," }.joined())
    }

    @Test func aWriterIsCancelledWhenItsReaderIsGone() async throws {
        let cancelled = Gate()
        let body = HTTPResponseBody.stream { writer in
            defer { cancelled.open() }
            while true { try await writer.write("x") }
        }
        for try await _ in body.pieces() { break }
        await cancelled.wait()
    }

    @Test func aFailureReachesTheReader() async {
        let body = HTTPResponseBody.stream { _ in throw HTTPServingError("broken") }
        await #expect(throws: HTTPServingError.self) { for try await _ in body.pieces() {} }
    }
}
