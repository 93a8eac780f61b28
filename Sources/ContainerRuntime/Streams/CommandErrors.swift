// SPDX-License-Identifier: Apache-2.0

import Linux
import Synchronization

/// The standard error of a command that crun starts, without what crun says on it when it cannot: that is told by the
/// command's outcome, and a client that saw both would print it twice.
///
/// Crun writes the file `pid` into the folder when the command runs. What comes before is kept until then.
final class CommandErrors: Sendable {
    private let reader: DescriptorReader
    private let folder: String
    private let outcome: Task<Result<Int, RuntimeError>, Never>
    private let runs = Mutex(false)

    init(_ reader: DescriptorReader, folder: String, outcome: Task<Result<Int, RuntimeError>, Never>) {
        self.reader = reader
        self.folder = folder
        self.outcome = outcome
    }

    func stream() -> AsyncStream<[UInt8]> {
        AsyncStream {
            await self.next()
        } onCancel: {
            self.reader.cancel()
        }
    }

    private func next() async -> [UInt8]? {
        guard let bytes = await reader.next() else { return nil }
        if runs.withLock({ $0 }) { return bytes }
        guard await hasStarted() else {
            while await reader.next() != nil {}
            return nil
        }
        runs.withLock { $0 = true }
        return bytes
    }

    /// Returns when the command runs, or when it is known that it never will.
    private func hasStarted() async -> Bool {
        let file = "\(folder)/pid"
        if Files.exists(file) { return true }
        let inotify = try? Inotify()
        try? inotify?.add(folder)
        // Written between the look and the watch.
        if Files.exists(file) { return true }
        let outcome = outcome
        let answers = AsyncStream<Bool>(bufferingPolicy: .bufferingOldest(1)) { continuation in
            let watch = Task {
                guard let inotify else { return }
                for await _ in inotify.events where Files.exists(file) { continuation.yield(true) }
            }
            // Not structured: the outcome comes with the command's end, which cannot be cancelled and is not waited for.
            Task {
                if case .success = await outcome.value { continuation.yield(true) } else { continuation.yield(false) }
            }
            continuation.onTermination = { _ in watch.cancel() }
        }
        for await answer in answers { return answer }
        return false
    }
}
