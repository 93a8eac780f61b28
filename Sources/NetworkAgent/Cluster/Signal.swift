// SPDX-License-Identifier: Apache-2.0

/// Says "look again" to one listener: raised often, heard once.
struct Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() {
        (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func raise() { continuation.yield() }

    /// Runs `body` after each time the signal was raised, until cancelled. A body that throws is run again after a
    /// second, for which nothing could be waited but time: the kernel and the API server do not tell when they would
    /// accept what they have refused.
    func forEach(onFailure: @Sendable (any Error) -> Void, _ body: () async throws -> Void) async {
        for await _ in stream {
            do {
                try await body()
            } catch {
                guard !Task.isCancelled else { return }
                onFailure(error)
                try? await Task.sleep(for: .seconds(1))
                raise()
            }
        }
    }
}
