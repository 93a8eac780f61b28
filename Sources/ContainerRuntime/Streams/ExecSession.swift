// SPDX-License-Identifier: Apache-2.0

/// A process in a container, or a container itself, with its streams: what `exec` and `attach` give.
///
/// `stdout` and `stderr` may each be read once. Reading them is what lets the process go on when its pipes are full.
public final class ExecSession: Sendable {
    public let stdout: AsyncStream<[UInt8]>
    /// Ends at once with a terminal: everything comes on `stdout` then.
    public let stderr: AsyncStream<[UInt8]>
    private let write: @Sendable ([UInt8]) async throws -> Void
    private let closeInput: @Sendable () async -> Void
    private let changeSize: @Sendable (Int, Int) async -> Void
    private let exit: @Sendable () async throws -> Int
    private let end: @Sendable () async -> Void

    package init(
        stdout: AsyncStream<[UInt8]>, stderr: AsyncStream<[UInt8]>,
        write: @escaping @Sendable ([UInt8]) async throws -> Void, closeInput: @escaping @Sendable () async -> Void,
        resize: @escaping @Sendable (Int, Int) async -> Void, exitCode: @escaping @Sendable () async throws -> Int,
        cancel: @escaping @Sendable () async -> Void
    ) {
        self.stdout = stdout
        self.stderr = stderr
        self.write = write
        self.closeInput = closeInput
        changeSize = resize
        exit = exitCode
        end = cancel
    }

    /// Writes to standard input; returns when the bytes were taken.
    public func writeStdin(_ bytes: [UInt8]) async throws { try await write(bytes) }

    public func closeStdin() async { await closeInput() }

    /// Changes the terminal's size; without a terminal nothing happens.
    public func resize(columns: Int, rows: Int) async { await changeSize(columns, rows) }

    /// The exit code: 128 + n after signal n. For a session of `attach` the container's.
    public func exitCode() async throws -> Int { try await exit() }

    /// Ends the session: kills what `exec` started, or lets go of what `attach` was joined to.
    public func cancel() async { await end() }
}
