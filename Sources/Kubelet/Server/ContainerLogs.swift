// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
package import Values

/// A line of a log in CRI's form: `TIME stdout F text`.
package struct LogLine: Sendable, Hashable {
    package let time: Timestamp
    package let isStandardError: Bool
    /// The line goes on in the next one.
    package let isPartial: Bool
    package let content: ArraySlice<UInt8>

    /// Nil for a line of another form. `line` has no line end.
    package init?(_ line: ArraySlice<UInt8>) {
        let space = UInt8(ascii: " ")
        guard let first = line.firstIndex(of: space),
            let time = Timestamp(String(decoding: line[..<first], as: UTF8.self)),
            let second = line[(first + 1)...].firstIndex(of: space)
        else { return nil }
        let third = line[(second + 1)...].firstIndex(of: space) ?? line.endIndex
        self.time = time
        isStandardError = line[(first + 1)..<second].elementsEqual("stderr".utf8)
        isPartial = line[(second + 1)..<third].first == UInt8(ascii: "P")
        content = third < line.endIndex ? line[(third + 1)...] : []
    }
}

/// What a client wants of a log.
package struct LogRequest: Sendable, Hashable {
    package var follow = false
    package var previous = false
    package var tailLines: Int?
    package var since: Timestamp?
    package var timestamps = false
    package var limitBytes: Int?

    package init() {}

    /// What is wrong with a value, as a message.
    package struct Invalid: Error, Hashable, Sendable {
        package let message: String
    }

    package init(now: Timestamp, _ value: (String) -> String?) throws(Invalid) {
        func flag(_ name: String) -> Bool { value(name).map { Bool(queryValue: $0) } ?? false }
        func number(_ name: String, least: Int) throws(Invalid) -> Int? {
            guard let text = value(name), !text.isEmpty else { return nil }
            guard let number = Int(text), number >= least else {
                throw Invalid(message: "\(name)=\(text) must be a whole number, \(least) or more")
            }
            return number
        }
        follow = flag("follow")
        previous = flag("previous")
        timestamps = flag("timestamps")
        tailLines = try number("tailLines", least: 0)
        limitBytes = try number("limitBytes", least: 1)
        if let seconds = try number("sinceSeconds", least: 1) { since = now.adding(seconds: -Double(seconds)) }
        if let text = value("sinceTime"), !text.isEmpty {
            guard since == nil else { throw Invalid(message: "at most one of sinceTime or sinceSeconds may be given") }
            guard let time = Timestamp(text) else {
                throw Invalid(message: "sinceTime=\(text) must be a time of RFC 3339")
            }
            since = time
        }
    }
}

/// Turns pieces of a log file into what a client asked for: lines cut, filtered and limited.
package struct LogFormatter: Sendable {
    private let request: LogRequest
    private var partial: [UInt8] = []
    private var left: Int?
    private var isContinuation = false

    package init(_ request: LogRequest) {
        self.request = request
        left = request.limitBytes
    }

    /// Nothing more can be sent.
    package var isExhausted: Bool { left == 0 }

    package mutating func feed(_ bytes: [UInt8]) -> [UInt8] {
        partial += bytes
        guard let end = partial.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
        var output: [UInt8] = []
        for line in partial[..<end].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true) {
            guard let line = LogLine(line) else { continue }
            if let since = request.since, line.time < since { continue }
            if request.timestamps, !isContinuation {
                output += line.time.nano.utf8
                output.append(UInt8(ascii: " "))
            }
            output += line.content
            if !line.isPartial { output.append(UInt8(ascii: "\n")) }
            isContinuation = line.isPartial
        }
        partial.removeFirst(end + 1)
        guard let left else { return output }
        let allowed = min(left, output.count)
        self.left = left - allowed
        return Array(output[..<allowed])
    }
}

/// Where logs are, and reading them from the end.
package enum ContainerLogs {
    static func linkName(_ pod: PodView, _ container: String, _ id: String) -> String {
        "\(pod.name)_\(pod.namespace)_\(container)-\(id).log"
    }

    static func link(_ path: String, to target: String) {
        unlink(path)
        symlink(target, path)
    }

    /// Splits a log's path into the folder of all pods' logs and the pod's own part of it: its folder, the container's,
    /// the file's name. A pod that sees the node's logs may put links there; no log is a link.
    private static func split(_ path: String) -> (logs: String, own: String) {
        var own: [Substring] = []
        var rest = path[...]
        while own.count < 3, let slash = rest.lastIndex(of: "/") {
            own.insert(rest[rest.index(after: slash)...], at: 0)
            rest = rest[..<slash]
        }
        return (rest.isEmpty ? "/" : String(rest), own.joined(separator: "/"))
    }

    /// Opens a log to read it. What is no plain file is none.
    static func open(_ path: String) throws(Errno) -> FileDescriptor {
        let (logs, own) = split(path)
        let file = try Files.open(own, beneath: Files.folder(logs), O_RDONLY | O_NONBLOCK | O_NOCTTY)
        var info = stat()
        guard fstat(file.rawValue, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
            throw Errno(code: EINVAL, call: "open", detail: "\(path) (not a plain file)")
        }
        return file
    }

    /// The folder that a log lies in, and the log's name there.
    static func folder(of path: String) throws(Errno) -> (folder: Int32, name: String) {
        let (logs, own) = split(path)
        let slash = own.lastIndex(of: "/") ?? own.startIndex
        let folder = try Files.open(
            String(own[..<slash]), beneath: Files.folder(logs), O_RDONLY | O_DIRECTORY)
        return (folder.take(), String(own[slash...].drop { $0 == "/" }))
    }

    /// The offset at which the last `count` lines of a file begin.
    package static func tailOffset(_ path: String, lines count: Int) -> Int {
        guard let opened = try? open(path) else { return 0 }
        let file = opened.rawValue
        let end = lseek(file, 0, SEEK_END)
        guard count > 0 else { return max(end, 0) }
        var position = end
        var found = 0
        while position > 0 {
            let start = max(0, position - 65536)
            guard let chunk = NodeFiles.read(file, at: start, count: position - start) else { return 0 }
            for index in chunk.indices.reversed() where chunk[index] == UInt8(ascii: "\n") {
                // The end of the last line is no beginning of another.
                if start + index == end - 1 { continue }
                found += 1
                if found == count { return start + index + 1 }
            }
            position = start
        }
        _ = consume opened
        return 0
    }

    /// The last `count` bytes of a log.
    static func tail(_ path: String, count: Int) -> [UInt8]? {
        guard let file = try? open(path) else { return nil }
        let end = lseek(file.rawValue, 0, SEEK_END)
        guard end >= 0 else { return nil }
        return NodeFiles.read(file.rawValue, at: max(0, end - count), count: count)
    }

    /// The rotated files of a log, the oldest first: `0.log.20261123-211001`.
    static func rotated(_ path: String) -> [String] {
        guard let slash = path.lastIndex(of: "/") else { return [] }
        let name = path[path.index(after: slash)...]
        return NodeFiles.list(String(path[..<slash])).filter { $0.hasPrefix(name + ".") }
            .map { path[..<slash] + "/" + $0 }
    }
}
