// SPDX-License-Identifier: Apache-2.0

/// The syntax of `spec.schedule`: five fields as in crontab(5), or a name such as `@daily`.
public enum CronSyntax {
    private struct Bounds {
        let range: ClosedRange<Int>
        var names: [String: Int] = [:]
    }

    private static func numbered(_ names: [String], from first: Int) -> [String: Int] {
        Dictionary(uniqueKeysWithValues: names.enumerated().map { ($0.element, $0.offset + first) })
    }

    private static let bounds = [
        Bounds(range: 0...59), Bounds(range: 0...23), Bounds(range: 1...31),
        Bounds(
            range: 1...12,
            names: numbered(
                ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], from: 1)),
        Bounds(range: 0...6, names: numbered(["sun", "mon", "tue", "wed", "thu", "fri", "sat"], from: 0)),
    ]
    private static let words: Set<String> = [
        "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly",
    ]

    /// What is wrong with a schedule; nil when nothing.
    public static func problem(in schedule: String) -> String? {
        var text = Substring(schedule)
        if ["TZ=", "CRON_TZ="].contains(where: { text.hasPrefix($0) }) {
            guard let space = text.firstIndex(of: " ") else { return "provided bad location \(text)" }
            text = text[space...].drop { $0.isWhitespace }
        }
        if text.isEmpty { return "empty spec string" }
        if text.first == "@" { return wordProblem(String(text)) }
        let fields = text.split { $0.isWhitespace }
        guard fields.count == bounds.count else {
            return "expected exactly 5 fields, found \(fields.count): [\(fields.joined(separator: " "))]"
        }
        for (field, bounds) in zip(fields, bounds) {
            for part in field.split(separator: ",") {
                if let problem = rangeProblem(String(part), bounds) { return problem }
            }
        }
        return nil
    }

    private static func wordProblem(_ word: String) -> String? {
        if words.contains(word) { return nil }
        let every = "@every "
        guard word.hasPrefix(every) else { return "unrecognized descriptor: \(word)" }
        let duration = word.dropFirst(every.count)
        return isDuration(duration)
            ? nil : "failed to parse duration \(word): time: invalid duration \"\(duration)\""
    }

    /// Numbers with units, as Go writes durations: `1h30m`.
    private static func isDuration(_ text: Substring) -> Bool {
        var rest = text.drop { $0 == "-" || $0 == "+" }
        if rest == "0" { return true }
        if rest.isEmpty { return false }
        while !rest.isEmpty {
            let number = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { !$0.isNumber && $0 != "." }
            rest = rest.dropFirst(unit.count)
            guard number.contains(where: \.isNumber), ["ns", "us", "µs", "ms", "s", "m", "h"].contains(unit) else {
                return false
            }
        }
        return true
    }

    /// `*`, `5`, `1-5`, `*/15`, `1-30/2`, `mon-fri`.
    private static func rangeProblem(_ text: String, _ bounds: Bounds) -> String? {
        let steps = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let ends = steps[0].split(separator: "-", omittingEmptySubsequences: false).map(String.init)
        var first = bounds.range.lowerBound
        var last = bounds.range.upperBound
        if ends[0] == "*" || ends[0] == "?" {
            if ends.count > 1 { return "too many hyphens: \(text)" }
        } else {
            switch number(ends[0], bounds) {
            case .success(let value): first = value
            case .failure(let problem): return problem.description
            }
            switch ends.count {
            // A step from one number on goes to the end.
            case 1: last = steps.count == 1 ? first : last
            case 2:
                switch number(ends[1], bounds) {
                case .success(let value): last = value
                case .failure(let problem): return problem.description
                }
            default: return "too many hyphens: \(text)"
            }
        }
        if steps.count > 2 { return "too many slashes: \(text)" }
        if steps.count == 2 {
            switch number(steps[1], Bounds(range: 0...0)) {
            case .success(0): return "step of range should be a positive number: \(text)"
            case .success: break
            case .failure(let problem): return problem.description
            }
        }
        if first < bounds.range.lowerBound {
            return "beginning of range (\(first)) below minimum (\(bounds.range.lowerBound)): \(text)"
        }
        if last > bounds.range.upperBound {
            return "end of range (\(last)) above maximum (\(bounds.range.upperBound)): \(text)"
        }
        if first > last { return "beginning of range (\(first)) beyond end of range (\(last)): \(text)" }
        return nil
    }

    private struct Problem: Error { let description: String }

    private static func number(_ text: String, _ bounds: Bounds) -> Result<Int, Problem> {
        if let named = bounds.names[text.lowercased()] { return .success(named) }
        guard let number = Int(text) else {
            return .failure(
                Problem(
                    description: "failed to parse int from \(text): strconv.Atoi: parsing \"\(text)\": invalid syntax"))
        }
        if number < 0 { return .failure(Problem(description: "negative number (\(number)) not allowed: \(text)")) }
        return .success(number)
    }
}

/// Names of time zones (IANA). Cities are not looked up: which there are is known to who computes with them.
enum TimeZoneNames {
    private static let areas: Set<String> = [
        "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Brazil", "Canada", "Chile",
        "Etc", "Europe", "Indian", "Mexico", "Pacific", "US",
    ]
    private static let alone: Set<String> = [
        "CET", "CST6CDT", "Cuba", "EET", "EST", "EST5EDT", "Egypt", "Eire", "GB", "GB-Eire", "GMT", "GMT+0", "GMT-0",
        "GMT0", "Greenwich", "HST", "Hongkong", "Iceland", "Iran", "Israel", "Jamaica", "Japan", "Kwajalein", "Libya",
        "MET", "MST", "MST7MDT", "NZ", "NZ-CHAT", "Navajo", "PRC", "PST8PDT", "Poland", "Portugal", "ROC", "ROK",
        "Singapore", "Turkey", "UCT", "UTC", "Universal", "W-SU", "WET", "Zulu",
    ]

    static func problems(_ name: String) -> [String] {
        if name.isEmpty { return ["timeZone must be nil or non-empty string"] }
        if name.lowercased() == "local" {
            return ["timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"]
        }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        let isWritten = parts.allSatisfy { part in
            part.first?.isLetter == true && part.utf8.allSatisfy { $0 < 0x80 }
                && part.allSatisfy { $0.isLetter || $0.isNumber || "_+-".contains($0) }
        }
        let isKnown = parts.count == 1 ? alone.contains(name) : areas.contains(String(parts[0]))
        return isWritten && isKnown ? [] : ["unknown time zone \(name)"]
    }
}
