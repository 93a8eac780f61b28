// SPDX-License-Identifier: Apache-2.0

public import Values

/// Durations as tables show them: two units at most, and less detail the longer they are.
public enum HumanDuration {
    public static func text(seconds: Double) -> String {
        guard let whole = Int64(exactly: seconds.rounded(.towardZero)) else { return "<invalid>" }
        // A clock that runs a little ahead is forgiven.
        if whole < -1 { return "<invalid>" }
        if whole < 0 { return "0s" }
        if whole < 120 { return "\(whole)s" }
        let minutes = whole / 60
        if minutes < 10 { return joined(minutes, "m", whole % 60, "s") }
        if minutes < 180 { return "\(minutes)m" }
        let hours = minutes / 60
        if hours < 8 { return joined(hours, "h", minutes % 60, "m") }
        if hours < 48 { return "\(hours)h" }
        let days = hours / 24
        if hours < 192 { return joined(days, "d", hours % 24, "h") }
        if days < 730 { return "\(days)d" }
        let years = days / 365
        if years < 8 { return joined(years, "y", days % 365, "d") }
        return "\(years)y"
    }

    /// The time since `start`; `<unknown>` when there is none.
    public static func age(since start: Timestamp?, now: Timestamp) -> String {
        start.map { text(seconds: now.seconds(since: $0)) } ?? "<unknown>"
    }

    private static func joined(_ first: Int64, _ unit: String, _ second: Int64, _ smaller: String) -> String {
        second == 0 ? "\(first)\(unit)" : "\(first)\(unit)\(second)\(smaller)"
    }
}
