// SPDX-License-Identifier: Apache-2.0

package import Values

/// When something that failed may be tried again: the first time at once, then 10 s after the failure, doubled each
/// time up to 5 min. A try that held for 10 min starts the count anew.
package struct RestartBackoff: Sendable, Hashable {
    package static let first = 10
    package static let longest = 300
    package static let resetAfter: Double = 600

    /// The wait after the latest failure, in seconds; 0 before there was any.
    package private(set) var seconds = 0
    private var lastTry: Timestamp?

    package init() {}

    private func hasExpired(_ failure: Timestamp) -> Bool {
        lastTry.map { failure.seconds(since: $0) > Self.resetAfter } ?? true
    }

    /// When the next try is due after a failure at `failure`; nil: at once.
    package func due(after failure: Timestamp) -> Timestamp? {
        guard seconds > 0, !hasExpired(failure) else { return nil }
        return failure.adding(seconds: Double(seconds))
    }

    /// Notes that a new try begins at `moment`, after a failure at `failure`.
    package mutating func willTry(at moment: Timestamp, after failure: Timestamp) {
        seconds = seconds == 0 || hasExpired(failure) ? Self.first : min(seconds * 2, Self.longest)
        lastTry = moment
    }

    package mutating func reset() {
        seconds = 0
        lastTry = nil
    }

    /// `10s`, `1m20s`, `5m0s`: as Go writes a duration.
    package var text: String { Self.text(seconds) }

    package static func text(_ seconds: Int) -> String {
        guard seconds >= 60 else { return "\(seconds)s" }
        guard seconds >= 3600 else { return "\(seconds / 60)m\(seconds % 60)s" }
        return "\(seconds / 3600)h\(seconds / 60 % 60)m\(seconds % 60)s"
    }
}
