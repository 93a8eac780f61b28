// SPDX-License-Identifier: Apache-2.0

import Testing
import Values

@Suite struct JSONTests {
    @Test(
        arguments: [
            ("{}", JSON.object([:])),
            (" [1, -2, 3.5, 1e3] ", [1, -2, 3.5, .double(1000)]),
            (#"{"a":{"b":[true,false,null]}}"#, ["a": ["b": [true, false, nil]]]),
            (#""é😀\n\/""#, "é😀\n/"),
            (#""\ud800x""#, "\u{FFFD}x"),
            ("9223372036854775807", .int(.max)),
            ("-9223372036854775808", .int(.min)),
            ("9223372036854775808", .double(9_223_372_036_854_775_808)),
        ] as [(String, JSON)])
    func parses(text: String, expected: JSON) throws {
        #expect(try JSON(parsing: text) == expected)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "01", "1.", "1e", "-", "tru", "\"\\x\"", "\"\n\"", "\"abc", "1 2",
        "+1",
        "\"\\u12g4\"", "nul", "[1 2]", "1e999",
    ])
    func refuses(text: String) {
        #expect(throws: JSONParseError.self) { try JSON(parsing: text) }
    }

    @Test func refusesInvalidUTF8() {
        #expect(throws: JSONParseError.self) { try JSON(parsing: [0x22, 0xFF, 0x22]) }
        #expect(throws: JSONParseError.self) { try JSON(parsing: [0x22, 0x5C, 0x6E, 0xC0, 0x80, 0x22]) }
    }

    @Test func refusesDeepNesting() {
        let deep = String(repeating: "[", count: 10_000)
        #expect(throws: JSONParseError.self) { try JSON(parsing: deep) }
        let allowed = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        #expect(throws: Never.self) { try JSON(parsing: allowed) }
    }

    @Test func reportsDuplicatesWithTheirPath() throws {
        var found: [String] = []
        let text = #"{"spec":{"replicas":1,"replicas":2,"c":[{"x":1},{"x":1,"x":2}]}}"#
        let value = try JSON(parsing: text, onDuplicate: { found.append($0) })
        #expect(found == ["spec.replicas", "spec.c[1].x"])
        #expect(value["spec"]["replicas"].int == 2)
    }

    @Test func writesWhatItReads() throws {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<500 {
            let value = randomValue(&generator, depth: 4)
            #expect(try JSON(parsing: value.serialized()) == value)
            #expect(try JSON(parsing: value.serialized(indent: 2, sortedKeys: true)) == value)
        }
    }

    @Test func assignsThroughMissingMembers() {
        var value: JSON = [:]
        value["metadata"]["labels"]["app"] = "web"
        #expect(value == ["metadata": ["labels": ["app": "web"]]])
        value["metadata"]["labels"]["app"] = nil
        value["status"]["phase"] = nil
        #expect(value == ["metadata": ["labels": [:]]])
    }

    @Test func whatIsLeftOutIsPassedOver() throws {
        let text = #"""
            {"a":{"x":{"s":"}\"]","l":[1,{"k":"\\"}]},"y":1,"z":"a\"b"},"x":{"x":2},"b":[{"x":3}],"c":{"w":-1.5e3,"x":true}}
            """#
        func read(_ isLeftOut: (String, String) -> Bool) throws -> JSON {
            try JSON(parsing: Array(text.utf8), leavingOut: isLeftOut)
        }
        let whole = try JSON(parsing: text)
        #expect(try read { _, _ in false } == whole)
        #expect(
            try read { _, inner in inner == "x" }
                == ["a": ["y": 1, "z": "a\"b"], "x": [:], "b": [["x": 3]], "c": ["w": -1500.0]])
        #expect(try read { outer, _ in outer == "a" }["a"] == [:])
        #expect(try read { outer, inner in outer == "a" && inner == "z" || inner == "w" }["c"] == ["x": true])
        #expect(throws: JSONParseError.self) {
            try JSON(parsing: Array(#"{"a":{"x":"unterminated}"#.utf8), leavingOut: { _, _ in true })
        }
        #expect(throws: JSONParseError.self) {
            try JSON(parsing: Array(#"{"a":{"x":"\"#.utf8), leavingOut: { _, _ in true })
        }
    }

    @Test func stringsOfEveryLengthAndKind() throws {
        // Eight bytes are looked at together: what ends a string may stand at any place among them.
        for length in 0..<40 {
            for special in ["", "\\n", "\\u00e9", "é", "\\\"", "\u{7f}", "😀"] {
                let (before, after) = (String(repeating: "x", count: length), String(repeating: "y", count: length % 9))
                let meaning = ["\\n": "\n", "\\u00e9": "é", "\\\"": "\""][special] ?? special
                #expect(try JSON(parsing: "[\"\(before)\(special)\(after)\"]") == [.string(before + meaning + after)])
            }
            for bad in ["\u{1f}", "\n", "\u{0}"] {
                #expect(throws: JSONParseError.self) {
                    try JSON(parsing: "\"\(String(repeating: "x", count: length))\(bad)xxxxxxxxx\"")
                }
            }
        }
    }

    /// Large objects are looked up by an index, which must say the same as walking.
    @Test func objectsOfAnySizeAnswerAlike() throws {
        for count in [0, 1, 63, 64, 65, 66, 500] {
            var object = JSONObject((0..<count).map { ("k\($0)", JSON($0)) })
            var expected = Dictionary(uniqueKeysWithValues: (0..<count).map { ("k\($0)", $0) })
            var order = (0..<count).map { "k\($0)" }
            func check() {
                #expect(object.keys == order && object.count == expected.count)
                for key in order + ["none"] { #expect(object[key].int == expected[key]) }
            }
            check()
            for step in 0..<200 {
                let key = "k\((step * 37) % 600)"
                if step % 3 == 0 {
                    object[key] = nil
                    expected[key] = nil
                    order.removeAll { $0 == key }
                } else {
                    if expected[key] == nil { order.append(key) }
                    object[key] = JSON(step)
                    expected[key] = step
                }
                if step % 50 == 0 { check() }
            }
            object.removeAll { $0.key.hasSuffix("7") }
            expected = expected.filter { !$0.key.hasSuffix("7") }
            order.removeAll { $0.hasSuffix("7") }
            check()
            let turned = JSONObject(object.members.reversed())
            #expect(turned == object && turned.hashValue == object.hashValue)
            #expect(try JSON(parsing: JSON.object(object).serialized()) == .object(turned))
        }
    }

    @Test func nestingIsCountedAndBounded() throws {
        let text = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
        #expect(try JSON(parsing: text).depth == 100)
        #expect(try JSON(parsing: Array(text.utf8), depth: 100).depth == 100)
        #expect(throws: JSONParseError.self) { try JSON(parsing: Array(text.utf8), depth: 99) }
        #expect(JSON.object(["a": ["b": 1]]).depth == 2 && JSON.int(1).depth == 0 && JSON.array([]).depth == 1)
    }

    @Test func manyKeysAreReadOneAfterTheOther() throws {
        var duplicates: [String] = []
        let members = (0..<50_000).map { "\"key\($0)\":\($0)" } + ["\"key7\":8"]
        let parsed = try JSON(parsing: "{" + members.joined(separator: ",") + "}") { duplicates.append($0) }
        #expect(parsed.object?.count == 50_000 && parsed["key7"] == 8 && duplicates == ["key7"])
    }

    @Test func orderOfMembersDoesNotMatter() {
        let one: JSON = ["a": 1, "b": ["c": 2, "d": 3]]
        let other: JSON = ["b": ["d": 3, "c": 2], "a": 1]
        #expect(one == other)
        #expect(one.hashValue == other.hashValue)
        #expect(one != ["a": 1, "b": ["c": 2]])
    }

    private func randomValue(_ generator: inout SeededGenerator, depth: Int) -> JSON {
        switch Int.random(in: 0..<(depth > 0 ? 7 : 5), using: &generator) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &generator))
        case 2: return .int(Int64.random(in: .min ... .max, using: &generator))
        case 3: return .double(Double(Int.random(in: -1000...1000, using: &generator)) + 0.25)
        case 4:
            let scalars = (0..<Int.random(in: 0..<12, using: &generator)).compactMap { _ in
                Unicode.Scalar(UInt32.random(in: 0..<0x1_1000, using: &generator))
            }
            return .string(String(String.UnicodeScalarView(scalars)))
        case 5: return .array((0..<3).map { _ in randomValue(&generator, depth: depth - 1) })
        default:
            var object = JSONObject()
            for index in 0..<3 { object["k\(index)\"\\"] = randomValue(&generator, depth: depth - 1) }
            return .object(object)
        }
    }

    @Test func keysAreSortedAtEveryLevel() throws {
        let json = try JSON(parsing: #"{"b":[{"z":1,"a":{"y":null,"x":2}}],"a":"c"}"#)
        #expect(json.withSortedKeys.text() == #"{"a":"c","b":[{"a":{"x":2,"y":null},"z":1}]}"#)
        #expect(json.withSortedKeys == json)
    }
}

/// SplitMix64: the same numbers on every run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
