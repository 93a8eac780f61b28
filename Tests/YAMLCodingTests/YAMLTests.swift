// SPDX-License-Identifier: Apache-2.0

import Testing
import Values
import YAMLCoding

@Suite struct YAMLTests {
    @Test(
        arguments: [
            ("a: 1\nb: [x, '2', \"true\", yes]\n", ["a": 1, "b": ["x", "2", "true", true]]),
            (
                "port: 0x10\nratio: 1.5\nnothing:\ntime: 2026-11-23\n",
                ["port": 16, "ratio": 1.5, "nothing": nil, "time": "2026-11-23"]
            ),
            ("text: |\n  one\n  two\n", ["text": "one\ntwo\n"]),
            ("base: &b {x: 1}\ncopy: *b\n", ["base": ["x": 1], "copy": ["x": 1]]),
            ("zone == \"east\"", "zone == \"east\""),
        ] as [(String, JSON)])
    func reads(text: String, expected: JSON) throws {
        #expect(try YAML.document(text) == expected)
    }

    @Test func readsManyDocuments() throws {
        #expect(try YAML.documents("---\na: 1\n---\n---\nb: 2\n") == [["a": 1], ["b": 2]])
        #expect(throws: YAMLError.self) { try YAML.document("a: 1\n---\nb: 2\n") }
    }

    @Test(arguments: ["a: [1", "a: b: c", "\tx: 1", "? [a]: b", "a: *nowhere"])
    func refuses(text: String) {
        #expect(throws: YAMLError.self) { try YAML.documents(text) }
    }

    @Test func writesWhatItReads() throws {
        let value: JSON = [
            "s": "plain", "n": "123", "t": "true", "e": "", "nl": "a\nb\n", "sel": "zone == \"east\"", "c": "a: b",
            "star": "*x",
            "list": [1, nil, ["k": "v"], [], [:]], "f": 1.5, "b": false, "null": "null", "date": "2026-11-23T00:00:00Z",
            "tilde": "~", "colon": "x:", "hash": "a #b", "dash": "- a",
        ]
        #expect(try YAML.document(YAML.text(value)) == value)
    }
}
