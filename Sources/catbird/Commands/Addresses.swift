// SPDX-License-Identifier: Apache-2.0

import Diagnosis
import ArgumentParser

/// Named here for `catbird --help`; `AddressTool` reads the command line itself.
struct ExplainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Tells why a pod has its address, or who has an address.")
    @Argument(parsing: .captureForPassthrough) var words: [String] = []

    func run() async throws {
        let code = await AddressTool.run(["explain"] + words)
        if code != 0 { throw ExitCode(code) }
    }
}

/// Named here for `catbird --help`; `AddressTool` reads the command line itself.
struct IPAMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ipam", abstract: "Pools, blocks and addresses: show, plan, check and migrate.")
    @Argument(parsing: .captureForPassthrough) var words: [String] = []

    func run() async throws {
        let code = await AddressTool.run(["ipam"] + words)
        if code != 0 { throw ExitCode(code) }
    }
}
