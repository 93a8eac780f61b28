// SPDX-License-Identifier: Apache-2.0

import Glibc
import Kubelet
import Testing
import Values

@Suite("Logs") struct LogTests {
    static let log = """
        2026-11-23T21:10:01.000000001Z stdout F one
        2026-11-23T21:10:02.000000001Z stderr P tw
        2026-11-23T21:10:02.000000002Z stderr F o
        2026-11-23T21:10:03.000000001Z stdout F

        """

    static func format(_ request: LogRequest, chunk: Int = .max) -> String {
        var formatter = LogFormatter(request)
        var output: [UInt8] = []
        let bytes = Array(log.utf8)
        for start in stride(from: 0, to: bytes.count, by: min(chunk, bytes.count)) {
            output += formatter.feed(Array(bytes[start..<min(bytes.count, start + min(chunk, bytes.count))]))
        }
        return String(decoding: output, as: UTF8.self)
    }

    @Test("lines, also cut anywhere", arguments: [1, 3, 7, Int.max])
    func plain(chunk: Int) {
        #expect(Self.format(LogRequest(), chunk: chunk) == "one\ntwo\n\n")
    }

    @Test("timestamps, since, limit")
    func options() throws {
        var request = LogRequest()
        request.timestamps = true
        #expect(
            Self.format(request).hasPrefix("2026-11-23T21:10:01.000000001Z one\n2026-11-23T21:10:02.000000001Z two\n"))
        request = LogRequest()
        request.since = Timestamp("2026-11-23T21:10:02Z")
        #expect(Self.format(request) == "two\n\n")
        request = LogRequest()
        request.limitBytes = 5
        #expect(Self.format(request) == "one\nt")
    }

    @Test(
        "requests",
        arguments: [
            (["tailLines": "-1"], "tailLines=-1 must be a whole number, 0 or more"),
            (["limitBytes": "x"], "limitBytes=x must be a whole number, 1 or more"),
            (["sinceTime": "now"], "sinceTime=now must be a time of RFC 3339"),
            (
                ["sinceTime": "2026-11-23T21:10:02Z", "sinceSeconds": "5"],
                "at most one of sinceTime or sinceSeconds may be given"
            ),
        ] as [([String: String], String)])
    func invalid(query: [String: String], message: String) {
        let error = #expect(throws: LogRequest.Invalid.self) { try LogRequest(now: .now) { query[$0] } }
        #expect(error?.message == message)
    }

    @Test("the last lines of a file", arguments: [(0, ""), (1, "c\n"), (2, "b\nc\n"), (9, "a\nb\nc\n")])
    func tail(count: Int, expected: String) throws {
        let path = "/tmp/kubelet-log-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        defer { unlink(path) }
        try NodeFiles.write(Array("a\nb\nc\n".utf8), to: path)
        let offset = ContainerLogs.tailOffset(path, lines: count)
        #expect(String(decoding: Array("a\nb\nc\n".utf8)[offset...], as: UTF8.self) == expected)
    }
}
