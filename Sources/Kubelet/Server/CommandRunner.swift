// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime

/// Joins a process in a container to the streams of a client.
enum CommandRunner {
    static func run(_ session: ExecSession, _ channels: CommandChannels, hasInput: Bool) async -> CommandOutcome {
        await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { input in
                input.addTask {
                    while hasInput, let bytes = await channels.stdin.next() {
                        // A process that does not read any more may still write.
                        do { try await session.writeStdin(bytes) } catch { break }
                    }
                    if !Task.isCancelled { await session.closeStdin() }
                }
                input.addTask {
                    for await size in channels.sizes {
                        await session.resize(columns: Int(size.width), rows: Int(size.height))
                    }
                }
                await withTaskGroup(of: Void.self) { output in
                    output.addTask { for await bytes in session.stdout { await channels.stdout(bytes) } }
                    output.addTask { for await bytes in session.stderr { await channels.stderr(bytes) } }
                }
                let outcome: CommandOutcome
                do { outcome = .exited(try await session.exitCode()) } catch {
                    outcome = .failed("error executing command in container: \(error)")
                }
                input.cancelAll()
                return outcome
            }
        } onCancel: {
            // The client is gone: what it started has nobody to talk to. Not structured: a handler cannot wait.
            Task { await session.cancel() }
        }
    }
}
