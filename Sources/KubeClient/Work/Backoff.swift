// SPDX-License-Identifier: Apache-2.0

/// How long to wait before trying again: a quarter of the time waited so far, between a least and a most.
///
/// The delays grow exponentially, yet whoever comes back is noticed within a quarter of its absence. Each delay
/// is shortened by up to a fifth at random, so that many clients do not come back at the same instant.
public struct Backoff: Sendable {
    public let least: Duration
    public let most: Duration
    private var waited: Duration = .zero

    public init(least: Duration = .milliseconds(50), most: Duration = .seconds(10)) {
        self.least = least
        self.most = most
    }

    /// The next delay, without the random part.
    public mutating func nextExact() -> Duration {
        let delay = min(max(least, waited / 4), most)
        waited += delay
        return delay
    }

    /// The next delay.
    public mutating func next() -> Duration { nextExact() * Double.random(in: 0.8...1) }

    /// It worked: start again from the least delay.
    public mutating func reset() { waited = .zero }
}
