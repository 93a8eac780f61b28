// SPDX-License-Identifier: Apache-2.0

import Testing

/// Each command's help, and the options that are another command's.
@Suite struct CommandHelpTests {
    @Test(arguments: [
        ("get", "--skip-exists"), ("create", "--export"), ("ipam show", "--strictaffinity=true"),
        ("ipam configure", "--show-blocks"), ("version", "--overwrite"), ("datastore migrate", "--client"),
        ("node status", "--ip=10.0.0.1"), ("label", "-A"),
    ])
    func optionsOfAnotherCommandAreRefused(command: String, option: String) async throws {
        let fixture = try await Fixture()
        let answer = await fixture.run("\(command) \(option)")
        #expect(answer.code == 1 && answer.errors.contains("Invalid option: '"), "\(answer)")
        let page = await fixture.run("\(command) --help")
        #expect(page.code == 0 && page.output.contains("calicoctl \(command)"), "\(page)")
        #expect(!page.output.contains(option.prefix { $0 != "=" }))
    }
}
