// SPDX-License-Identifier: Apache-2.0

/// A limit on how long something may take.
public enum Deadline {
    public struct Passed: Error, CustomStringConvertible {
        public let after: Duration
        public var description: String { "no answer within \(after)" }
    }

    /// Runs `body`, and cancels it when it takes longer. Who is frozen never answers: that is what the timer is for.
    public static func run<T: Sendable>(_ limit: Duration, _ body: @escaping @Sendable () async throws -> T)
        async throws -> T
    {
        try await withThrowingTaskGroup(of: T.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: limit)
                throw Passed(after: limit)
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw Passed(after: limit) }
            return first
        }
    }
}
