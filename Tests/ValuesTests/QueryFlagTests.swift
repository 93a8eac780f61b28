// SPDX-License-Identifier: Apache-2.0

import Testing
import Values

@Suite struct QueryFlagTests {
    @Test(arguments: ["", "1", "t", "T", "true", "True", "TRUE", "yes", "maybe", "2"])
    func whateverIsThereMeansYes(_ text: String) {
        #expect(Bool(queryValue: text))
    }

    @Test(arguments: ["0", "f", "F", "false", "False", "FALSE", "fAlSe"])
    func butForWhatSaysNo(_ text: String) {
        #expect(!Bool(queryValue: text))
    }
}
