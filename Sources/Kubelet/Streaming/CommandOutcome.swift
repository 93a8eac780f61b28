// SPDX-License-Identifier: Apache-2.0

package import Values

/// How a remote command ended, and how the error channel says it.
package enum CommandOutcome: Hashable, Sendable {
    case exited(Int)
    /// It could not be run, or not be joined: `error executing command in container: …`.
    case failed(String)

    /// What attach reports: it ends with the container's streams, and the exit code is the pod's status to tell.
    /// kubectl takes a code here for a broken connection, and prints the log once more.
    package var ofAttachment: CommandOutcome {
        if case .exited = self { .exited(0) } else { self }
    }

    /// The Status of versions 4 and 5.
    package var status: JSON {
        switch self {
        case .exited(0): return ["metadata": [:], "status": "Success"]
        case .exited(let code):
            return [
                "metadata": [:], "status": "Failure",
                "message": "command terminated with non-zero exit code: exit status \(code)",
                "reason": "NonZeroExitCode",
                "details": ["causes": [["reason": "ExitCode", "message": .string(String(code))]]],
            ]
        case .failed(let message):
            return [
                "metadata": [:], "status": "Failure", "message": .string("Internal error occurred: \(message)"),
                "reason": "InternalError",
                "details": ["causes": [["message": .string(message)]]], "code": 500,
            ]
        }
    }

    /// The text of the versions before; nil for success, which those say by silence.
    package var text: String? {
        switch self {
        case .exited(0): nil
        case .exited(let code):
            "error executing command in container: command terminated with non-zero exit code: exit status \(code)"
        case .failed(let message): message
        }
    }
}
