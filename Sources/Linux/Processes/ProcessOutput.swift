// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// What a helper process wrote and how it ended.
public struct ProcessOutput: Sendable {
    public let status: ExitStatus
    public let output: [UInt8]
    public let errors: [UInt8]

    public var text: String { String(decoding: output, as: UTF8.self) }
    public var errorText: String { String(decoding: errors, as: UTF8.self) }
}

/// Reads a pipe on the event thread to its end.
final class PipeReader: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var isDone = false
        var continuation: CheckedContinuation<[UInt8], Never>?
    }

    private let fd: Int32
    private let limit: Int
    private let state = Mutex(State())

    init(owning fd: Int32, limit: Int) throws(Errno) {
        self.fd = fd
        self.limit = limit
        try FileEvents.shared().add(fd) { _ in self.readable() }
    }

    private func readable() {
        // Readable means one read does not block: some bytes, or the end.
        let part = (try? FileDescriptor.read(fd, upTo: 65536)) ?? []
        let continuation = state.withLock { state -> CheckedContinuation<[UInt8], Never>? in
            state.bytes += part.prefix(max(0, limit - state.bytes.count))
            guard part.isEmpty, !state.isDone else { return nil }
            state.isDone = true
            defer { state.continuation = nil }
            return state.continuation
        }
        if part.isEmpty {
            (try? FileEvents.shared())?.remove(fd)
            close(fd)
        }
        continuation?.resume(returning: state.withLock { $0.bytes })
    }

    func collect() async -> [UInt8] {
        await withCheckedContinuation { continuation in
            let bytes = state.withLock { state -> [UInt8]? in
                if state.isDone { return state.bytes }
                state.continuation = continuation
                return nil
            }
            if let bytes { continuation.resume(returning: bytes) }
        }
    }
}

enum OutputCollector {
    static func run(_ spawner: ProcessSpawner, input: [UInt8], limit: Int) async throws -> ProcessOutput {
        var spawner = spawner
        let output = try FileDescriptor.pipe().take()
        let errors = try FileDescriptor.pipe().take()
        let outputWriter = FileDescriptor(owning: output.write)
        let errorWriter = FileDescriptor(owning: errors.write)
        spawner.descriptors[1] = outputWriter.rawValue
        spawner.descriptors[2] = errorWriter.rawValue
        // A file in memory: the child may read it or not, nobody has to feed it.
        let stdin = try inputFile(input)
        spawner.descriptors[0] = stdin.rawValue
        let process: ChildProcess
        do { process = try spawner.spawn() } catch {
            close(output.read)
            close(errors.read)
            throw error
        }
        _ = consume outputWriter
        _ = consume errorWriter
        let outputReader = try PipeReader(owning: output.read, limit: limit)
        let errorReader = try PipeReader(owning: errors.read, limit: limit)
        let status = await process.wait()
        return ProcessOutput(status: status, output: await outputReader.collect(), errors: await errorReader.collect())
    }

    private static func inputFile(_ input: [UInt8]) throws(Errno) -> FileDescriptor {
        if input.isEmpty { return try FileDescriptor.open("/dev/null", O_RDONLY) }
        return try FileDescriptor.inMemory(input)
    }
}
