// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// What a plugin wrote and how it ended.
struct PluginOutput: Sendable {
    var status: ExitStatus
    var answer: [UInt8]
    var errors: [UInt8]
    /// It took longer than it may.
    var isKilled: Bool

    private static let limit = 4 << 20

    /// Runs it with `input` on its standard input; kills it after `patience`, and when the caller is cancelled.
    static func of(_ spawner: ProcessSpawner, input: [UInt8], patience: Duration) async throws -> PluginOutput {
        var spawner = spawner
        let stdin = try FileDescriptor.inMemory(input)
        let output = try FileDescriptor.pipe().take()
        let errors = try FileDescriptor.pipe().take()
        let outputReader = DescriptorReader(owning: output.read)
        let errorReader = DescriptorReader(owning: errors.read)
        spawner.descriptors = [0: stdin.rawValue, 1: output.write, 2: errors.write]
        let process: ChildProcess
        do {
            defer {
                close(output.write)
                close(errors.write)
            }
            process = try spawner.spawn()
        }
        async let answer = collect(outputReader)
        async let complaints = collect(errorReader)
        // Nil: the time is over.
        let (status, isKilled) = await withTaskGroup(of: ExitStatus?.self) { group in
            group.addTask { await process.wait() }
            group.addTask {
                try? await Task.sleep(for: patience)
                return nil
            }
            var isKilled = false
            while let result = await group.next() {
                if let status = result {
                    group.cancelAll()
                    return (status, isKilled)
                }
                isKilled = true
                try? process.signal(SIGKILL)
            }
            return (ExitStatus.unknown, isKilled)
        }
        // A process that it left behind may hold the pipes: what came by then is what counts.
        let cut = Task {
            if !isKilled { try await Task.sleep(for: min(patience, .seconds(2))) }
            outputReader.cancel()
            errorReader.cancel()
        }
        defer { cut.cancel() }
        return PluginOutput(status: status, answer: await answer, errors: await complaints, isKilled: isKilled)
    }

    private static func collect(_ reader: DescriptorReader) async -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < limit, let part = await reader.next() { bytes += part }
        return bytes
    }
}
