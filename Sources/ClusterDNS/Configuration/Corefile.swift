// SPDX-License-Identifier: Apache-2.0

public import Values

/// CoreDNS' configuration file, as far as the cluster's server needs it.
public struct Corefile: Sendable, Hashable {
    public var port = 53
    public var domain = "cluster.local"
    public var pods = ClusterZone.Pods.disabled
    /// Seconds, 0 to 3600 (CoreDNS' limit).
    public var ttl: UInt32 = 5
    public var reverseFallsThrough = false
    /// Addresses, or a resolv.conf, in order; empty: nothing is forwarded.
    public var upstreams: [String] = []
    /// How many questions may be on their way upstream at once; 0 is no limit but our own.
    public var maximumConcurrent = 1000
    /// Seconds; 0 turns the cache off.
    public var cacheSeconds: UInt32 = 0
    public var logsQueries = false
    /// Plugins that are named but have no effect here.
    public var ignored: [String] = []

    public struct ParseError: Error, Sendable, CustomStringConvertible {
        public let line: Int
        public let reason: String
        public var description: String { "Corefile:\(line): \(reason)" }
    }

    public init() {}

    private struct Line {
        let number: Int
        let words: [String]
    }

    /// Reads the server block for the root zone; further blocks are named as ignored.
    ///
    /// - Throws: `ParseError` with the line for unbalanced braces and values that make no sense.
    public init(parsing text: String) throws(ParseError) {
        var lines: [Line] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let code = line.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
            let words = code.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\r" }).map(String.init)
            if !words.isEmpty { lines.append(Line(number: index + 1, words: words)) }
        }
        var depth = 0
        var block = ""
        var plugin = ""
        for line in lines {
            var words = line.words
            let opens = words.last == "{"
            if opens { words.removeLast() }
            if words == ["}"] {
                guard depth > 0 else { throw ParseError(line: line.number, reason: "'}' without '{'") }
                depth -= 1
                continue
            }
            switch depth {
            case 0:
                guard opens else {
                    throw ParseError(line: line.number, reason: "expected '{' after the server's names")
                }
                block = words.first ?? ""
                if block.hasPrefix("."), let number = block.split(separator: ":").last.flatMap({ Int($0) }) {
                    port = number
                }
                if !block.hasPrefix(".") { ignored.append("server \(words.joined(separator: " "))") }
            case 1 where block.hasPrefix("."):
                plugin = words.first ?? ""
                try apply(plugin, Array(words.dropFirst()), line.number)
            case 2 where block.hasPrefix("."):
                try applyOption(plugin, words, line.number)
            default: break
            }
            if opens { depth += 1 }
        }
        guard depth == 0 else { throw ParseError(line: lines.last?.number ?? 1, reason: "'}' expected before the end") }
        if domain.isEmpty { domain = "cluster.local" }
    }

    private mutating func apply(_ plugin: String, _ arguments: [String], _ line: Int) throws(ParseError) {
        switch plugin {
        case "kubernetes":
            if let first = arguments.first(where: { !$0.hasSuffix(".arpa") }) { domain = first }
        case "forward":
            guard arguments.count >= 2 else {
                throw ParseError(line: line, reason: "forward takes a zone and at least one address or file")
            }
            upstreams = Array(arguments.dropFirst())
        case "cache":
            cacheSeconds =
                try arguments.first.map { (text: String) throws(ParseError) in try number(text, 0...86400, line) }
                ?? 3600
        case "log": logsQueries = true
        case "errors", "health", "ready", "prometheus", "loop", "reload", "loadbalance": break
        default: ignored.append(plugin)
        }
    }

    private mutating func applyOption(_ plugin: String, _ words: [String], _ line: Int) throws(ParseError) {
        switch (plugin, words.first) {
        case ("kubernetes", "pods"):
            guard words.count == 2, let mode = ClusterZone.Pods(rawValue: words[1]) else {
                throw ParseError(line: line, reason: "pods takes disabled, insecure or verified")
            }
            pods = mode
        case ("kubernetes", "ttl"): ttl = try number(words.last ?? "", 0...3600, line)
        case ("kubernetes", "fallthrough"): reverseFallsThrough = true
        case ("forward", "max_concurrent"): maximumConcurrent = Int(try number(words.last ?? "", 0...100_000, line))
        default: break
        }
    }

    private func number(_ text: String, _ range: ClosedRange<UInt32>, _ line: Int) throws(ParseError) -> UInt32 {
        guard let value = UInt32(text), range.contains(value) else {
            throw ParseError(
                line: line, reason: "\"\(text)\" is not a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }
}

/// Name servers of a resolv.conf (resolv.conf(5)).
public enum ResolverFile {
    public static func nameServers(_ text: String) -> [IPAddress] {
        text.split(separator: "\n").compactMap { line in
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            return words.count >= 2 && words[0] == "nameserver" ? IPAddress(words[1]) : nil
        }
    }
}
