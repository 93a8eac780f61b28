// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The figures of one name, each known by the values of its labels, in the text format of Prometheus.
public final class MetricFamily: Sendable {
    public enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    private enum Figure {
        case number(Double)
        case distribution(counts: [Int], sum: Double)
    }

    public let name: String
    private let help: String
    private let kind: Kind
    private let labels: [String]
    /// Upper bounds of a histogram's buckets, the last one without.
    private let bounds: [Double]
    private let figures: Mutex<[[String]: Figure]>

    /// Seconds that a call to a server takes, as upstream divides them.
    public static let requestSeconds: [Double] = [
        0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
    ]
    /// From a thousandth to sixteen seconds, each the double of the one before.
    public static let decisionSeconds: [Double] = (0..<15).map { 0.001 * Double(1 << $0) }
    /// From ten nanoseconds to ten seconds, each ten times the one before.
    public static let workSeconds: [Double] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 1, 10]

    /// - Parameter labels: one without labels is there from the beginning, with nothing counted.
    public init(_ kind: Kind, _ name: String, _ help: String, labels: [String] = [], bounds: [Double] = []) {
        self.kind = kind
        self.name = name
        self.help = help
        self.labels = labels
        self.bounds = bounds
        figures = Mutex([:])
        if labels.isEmpty { touch([]) }
    }

    private var zero: Figure {
        kind == .histogram
            ? .distribution(counts: Array(repeating: 0, count: bounds.count + 1), sum: 0) : .number(0)
    }

    /// The figure is there, though nothing has been counted yet.
    public func touch(_ values: [String]) { figures.withLock { $0[values] = $0[values] ?? zero } }

    public func add(_ amount: Double = 1, _ values: [String] = []) {
        figures.withLock { figures in
            guard case .number(let number)? = figures[values] else {
                figures[values] = .number(amount)
                return
            }
            figures[values] = .number(number + amount)
        }
    }

    public func set(_ number: Double, _ values: [String] = []) {
        figures.withLock { $0[values] = .number(number) }
    }

    public func observe(_ seconds: Double, _ values: [String] = []) {
        let bucket = bounds.firstIndex { seconds <= $0 } ?? bounds.count
        figures.withLock { figures in
            guard case .distribution(var counts, let sum) = figures[values] ?? zero else { return }
            // Changed where it stands.
            figures[values] = nil
            counts[bucket] += 1
            figures[values] = .distribution(counts: counts, sum: sum + seconds)
        }
    }

    public func observe(since start: ContinuousClock.Instant, _ values: [String] = []) {
        observe((ContinuousClock.now - start) / .seconds(1), values)
    }

    /// The lines of the family, by the values of its labels.
    public func append(to text: inout String) {
        let sorted = figures.withLock { $0 }.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
        for (values, figure) in sorted {
            let pairs = zip(labels, values).map { "\($0)=\"\(Self.escaped($1))\"" }
            func line(_ suffix: String, _ more: [String], _ number: String) {
                let all = pairs + more
                text += "\(name)\(suffix)\(all.isEmpty ? "" : "{\(all.joined(separator: ","))}") \(number)\n"
            }
            switch figure {
            case .number(let number): line("", [], Self.text(number))
            case .distribution(let counts, let sum):
                var total = 0
                for (index, count) in counts.enumerated() {
                    total += count
                    let bound = index < bounds.count ? Self.text(bounds[index]) : "+Inf"
                    line("_bucket", ["le=\"\(bound)\""], String(total))
                }
                line("_sum", [], Self.text(sum))
                line("_count", [], String(total))
            }
        }
    }

    static func text(_ number: Double) -> String {
        Int(exactly: number).map(String.init) ?? String(number)
    }

    private static func escaped(_ value: String) -> String {
        guard value.contains(where: { $0 == "\\" || $0 == "\"" || $0 == "\n" }) else { return value }
        return value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}
