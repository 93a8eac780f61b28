// SPDX-License-Identifier: Apache-2.0

/// Lengths of time as minikube's flags take them: `6m0s`, `1.5h`, `300ms`.
enum GoDuration {
    private static let units: [(name: String, seconds: Double)] = [
        ("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("h", 3600), ("m", 60), ("s", 1),
    ]

    /// Nil when it is none, is negative, or is longer than a year.
    static func parse(_ text: String) -> Duration? {
        if text == "0" { return .zero }
        var rest = text[...]
        var seconds = 0.0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let number = rest.prefix { ("0"..."9").contains($0) || $0 == "." }
            guard let value = Double(number) else { return nil }
            rest = rest.dropFirst(number.count)
            guard let unit = units.first(where: { rest.hasPrefix($0.name) }) else { return nil }
            rest = rest.dropFirst(unit.name.count)
            seconds += value * unit.seconds
        }
        return seconds <= 366 * 86400 ? .seconds(seconds) : nil
    }
}
