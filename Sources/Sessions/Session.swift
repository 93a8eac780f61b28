// SPDX-License-Identifier: Apache-2.0

import Glibc
package import KubeClient

/// A message for standard error and an exit code.
package struct Failure: Error {
    package let message: String
    package var code: Int32 = 1

    package init(_ message: String, code: Int32 = 1) {
        self.message = message
        self.code = code
    }
}

/// One command line with what it needs: what was said, the API that it is about, and where it reads and writes.
package struct Session: Sendable {
    package let arguments: Arguments
    private let givenClient: KubeClient?
    package let input: @Sendable () -> [UInt8]
    package let output: @Sendable (String) -> Void
    package let errors: @Sendable (String) -> Void

    package init(
        arguments: Arguments, client: KubeClient?, input: @escaping @Sendable () -> [UInt8],
        output: @escaping @Sendable (String) -> Void, errors: @escaping @Sendable (String) -> Void
    ) {
        self.arguments = arguments
        givenClient = client
        self.input = input
        self.output = output
        self.errors = errors
    }

    /// The API that `--context`, `KUBECONFIG`, `~/.kube/config` or the pod's service account leads to.
    package func client() throws -> KubeClient {
        if let givenClient {
            return KubeClient(WarningTransport(givenClient.transport, errors), userAgent: "calicoctl")
        }
        let configuration: ClientConfiguration
        do {
            configuration = try ClientConfiguration.discover(
                kubeconfig: try arguments.value("kubeconfig") ?? configuredKubeconfig(),
                context: arguments.value("context") ?? arguments.value("profile"))
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure("Failed to create Calico API client: \(error)")
        }
        return KubeClient(WarningTransport(try HTTPTransport(configuration), errors), userAgent: "calicoctl")
    }

    /// Runs one command line, without the program's name, and says what it comes to as an exit code.
    ///
    /// - Parameters:
    ///   - client: nil for the one that the command line leads to.
    ///   - answer: the command.
    package static func run(
        _ words: [String], input: @escaping @Sendable () -> [UInt8] = { StandardStreams.readInput() },
        client: KubeClient? = nil, output: @escaping @Sendable (String) -> Void = StandardStreams.print,
        errors: @escaping @Sendable (String) -> Void = StandardStreams.printError,
        answer: (Session) async throws -> Int32
    ) async -> Int32 {
        await guarded(errors) {
            try await answer(
                Session(arguments: try Arguments(words), client: client, input: input, output: output, errors: errors))
        }
    }

    /// Runs a command and turns what it throws into a message and an exit code.
    package static func guarded(_ errors: @Sendable (String) -> Void, _ body: () async throws -> Int32) async -> Int32 {
        do {
            return try await body()
        } catch let failure as Failure {
            errors(failure.message)
            return failure.code
        } catch let error as APIError {
            errors(error.message)
            return 1
        } catch {
            errors("\(error)")
            return 1
        }
    }
}

/// The process's own.
package enum StandardStreams {
    package static func readInput() -> [UInt8] {
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(0, &buffer, buffer.count)
            guard count > 0 else { return result }
            result += buffer[..<count]
        }
    }

    /// Whether the terminal shows more than ASCII.
    package static var showsUnicode: Bool {
        let environment = Files.environment
        let locale = environment["LC_ALL"] ?? environment["LC_CTYPE"] ?? environment["LANG"] ?? ""
        return locale.uppercased().contains("UTF")
    }

    package static func print(_ text: String) { write(1, text) }
    package static func printError(_ text: String) { write(2, text.hasSuffix("\n") ? text : text + "\n") }

    private static func write(_ fd: Int32, _ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}
