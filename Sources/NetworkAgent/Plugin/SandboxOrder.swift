// SPDX-License-Identifier: Apache-2.0

/// Has requests about one sandbox, or one pod, wait for each other: a runtime that gave up asks again while the first
/// request is still being carried out.
actor SandboxOrder {
    /// Those who wait, by what they wait for; there is an entry while one is at work.
    private var waiting: [String: [CheckedContinuation<Void, Never>]] = [:]

    func run<Result: Sendable>(_ key: String, _ body: @Sendable () async throws -> Result) async rethrows -> Result {
        if waiting[key] == nil {
            waiting[key] = []
        } else {
            await withCheckedContinuation { waiting[key, default: []].append($0) }
        }
        defer { leave(key) }
        return try await body()
    }

    private func leave(_ key: String) {
        guard var queue = waiting[key], !queue.isEmpty else {
            waiting[key] = nil
            return
        }
        let next = queue.removeFirst()
        waiting[key] = queue
        next.resume()
    }
}
