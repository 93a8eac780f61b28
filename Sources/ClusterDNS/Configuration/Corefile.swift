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
    /// `errors`: questions that could not be answered are logged with the reason.
    public var logsErrors = false
    /// `loadbalance`: the addresses of an answer change places.
    public var loadBalances = false
    /// `loop`: an upstream that leads back here ends the server.
    public var detectsLoops = false
    /// `reload`: changes of the file are followed while the server runs; the moment that they are made, so that the
    /// interval which it may name is of no account.
    public var reloads = false
    /// Ports of `health`, `ready` and `prometheus`; nil where they are not named.
    public var healthPort: Int?
    public var readyPort: Int?
    public var metricsPort: Int?
    /// `health`'s `lameduck`: seconds that the server goes on answering after it was told to end.
    public var lameduckSeconds = 0.0
    /// The plugins that are in force, in the order of the file.
    public var plugins: [String] = []
    /// Plugins and settings that are named but have no effect here.
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
            let zones = arguments.filter { !$0.hasSuffix(".arpa") }
            if let first = zones.first { domain = first.hasSuffix(".") ? String(first.dropLast()) : first }
            ignored += zones.dropFirst().map { "kubernetes \($0)" }
        case "forward": try forward(arguments, line)
        case "cache":
            cacheSeconds =
                try arguments.first.map { (text: String) throws(ParseError) in try number(text, 0...86400, line) }
                ?? 3600
            ignored += arguments.dropFirst().filter { $0 != "." }.map { "cache for \($0) alone" }
        case "loadbalance":
            guard arguments.isEmpty || arguments == ["round_robin"] else {
                throw ParseError(
                    line: line, reason: "loadbalance \(arguments[0]) is not spoken here: round_robin is, as is nothing")
            }
            loadBalances = true
        case "loop": detectsLoops = true
        case "log": logsQueries = true
        case "errors": logsErrors = true
        case "reload": reloads = true
        case "health": healthPort = try port(arguments.first, 8080, line)
        case "ready": readyPort = try port(arguments.first, 8181, line)
        case "prometheus": metricsPort = try port(arguments.first, 9153, line)
        default:
            ignored.append(plugin)
            return
        }
        plugins.append(plugin)
    }

    private mutating func forward(_ arguments: [String], _ line: Int) throws(ParseError) {
        guard arguments.count >= 2 else {
            throw ParseError(line: line, reason: "forward takes a zone and at least one address or file")
        }
        guard arguments[0] == "." else {
            throw ParseError(
                line: line, reason: "forward \(arguments[0]): a zone of its own has no upstream here; only . has")
        }
        for target in arguments.dropFirst() where target.contains("://") && !target.hasPrefix("dns://") {
            throw ParseError(line: line, reason: "forward to \(target): only plain DNS is spoken here")
        }
        upstreams = arguments.dropFirst().map { $0.hasPrefix("dns://") ? String($0.dropFirst(6)) : $0 }
    }

    private mutating func applyOption(_ plugin: String, _ words: [String], _ line: Int) throws(ParseError) {
        switch (plugin, words.first) {
        case ("kubernetes", "pods"):
            guard words.count == 2, let mode = ClusterZone.Pods(rawValue: words[1]) else {
                throw ParseError(line: line, reason: "pods takes disabled, insecure or verified")
            }
            pods = mode
        case ("kubernetes", "ttl"): ttl = try number(words.last ?? "", 0...3600, line)
        case ("kubernetes", "fallthrough"):
            reverseFallsThrough = true
            let zones = words.dropFirst().filter { $0 != "in-addr.arpa" && $0 != "ip6.arpa" }
            ignored += zones.map { "kubernetes fallthrough \($0)" }
        case ("forward", "max_concurrent"): maximumConcurrent = Int(try number(words.last ?? "", 0...100_000, line))
        case ("health", "lameduck"): lameduckSeconds = try seconds(words.last ?? "", line)
        default:
            if !ignored.contains(plugin) { ignored.append("\(plugin) \(words.joined(separator: " "))") }
        }
    }

    /// The port of `:8080` or `0.0.0.0:8080`.
    private func port(_ text: String?, _ usual: Int, _ line: Int) throws(ParseError) -> Int {
        guard let text else { return usual }
        guard let number = text.split(separator: ":").last.flatMap({ Int($0) }), (1...65535).contains(number) else {
            throw ParseError(line: line, reason: "\"\(text)\" is no address with a port, as :\(usual)")
        }
        return number
    }

    /// A duration as Go writes it, of one unit.
    private func seconds(_ text: String, _ line: Int) throws(ParseError) -> Double {
        for (unit, factor) in [("ms", 0.001), ("s", 1), ("m", 60)] where text.hasSuffix(unit) {
            if let number = Double(text.dropLast(unit.count)), (0...3600).contains(number * factor) {
                return number * factor
            }
        }
        throw ParseError(line: line, reason: "\"\(text)\" is no duration of up to an hour, as 5s")
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
