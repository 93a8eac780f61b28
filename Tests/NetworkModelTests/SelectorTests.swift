// SPDX-License-Identifier: Apache-2.0

import NetworkModel
import Testing

@Suite struct SelectorTests {
    static let labels = ["zone": "east", "rack": "0", "a.b/c_d-e": "x", "in": "y"]

    @Test(arguments: [
        "", " ", "all()", "zone == \"east\"", "zone=='east'", "zone != 'west'", "absent != 'x'", "has(rack)",
        "!has(absent)", "!!has(rack)", "! ! has(rack)", "zone contains 'as'", "zone contains ''",
        "zone starts with 'ea'",
        "zone startswith 'ea'", "zone ends with 'st'", "zone endswith \"st\"", "zone in {'west', 'east'}",
        "zone in {'east',}", "zone not in {'west'}", "zone notin {}", "absent not in {'x'}", "a.b/c_d-e == 'x'",
        "in in {'y'}", "rack == \"0\" && zone == \"east\"", "zone == 'west' || rack == '0'",
        "zone == 'east' || absent == 'x' && rack == '1'", "(zone == 'west' || rack == '0') && has(zone)",
        "global()", "!(zone == 'west')", "zone\t==\t'east'",
    ])
    func matches(text: String) throws {
        #expect(try Selector(text).matches(Self.labels))
    }

    @Test(arguments: [
        "!all()", "zone == 'west'", "absent == ''", "zone != 'east'", "has(absent)", "absent contains ''",
        "absent starts with ''", "absent in {'x'}", "zone in {}", "zone not in {'east'}", "rack == '00'",
        "zone == 'East'", "(zone == 'east' || absent == 'x') && rack == '1'", "zone contains 'easter'",
    ])
    func doesNotMatch(text: String) throws {
        #expect(try !Selector(text).matches(Self.labels))
    }

    static let mistakes: [(String, String, Int)] = [
        ("rack = '0'", "expected ==", 5), ("rack = 0", "expected ==", 5), ("rack == 0", "expected string", 8),
        ("rack == '0", "closing quote", 8), ("rack ==", "expected string", 7), ("rack", "expected an operator", 4),
        ("has (rack)", "expected an operator", 4), ("all ()", "expected an operator", 4), ("has(rack", "expected )", 8),
        ("rack == '0' zone == 'x'", "expected && or ||", 12), ("rack == '0' &&", "expected a label", 14),
        ("(rack == '0'", "expected )", 12), ("rack in ['0']", "expected {", 8),
        ("rack in {'0' '1'}", "expected , or }", 13),
        ("rack not '0'", "expected \"in\"", 9), ("rack starts '0'", "expected \"with\"", 12),
        ("rack ==\n'0'", "expected string", 7), ("&& has(a)", "expected a label", 0),
        ("rack == '\\''", "expected && or ||", 11),
        ("rack like '0'", "expected an operator", 5),
    ]

    @Test(arguments: mistakes)
    func mistakesSayWhere(text: String, reason: String, offset: Int) {
        let error = #expect(throws: SelectorError.self) { try Selector(text) }
        #expect(error?.reason.contains(reason) == true, "\(String(describing: error))")
        #expect(error?.offset == offset)
    }

    @Test func nestingIsBounded() {
        let text = String(repeating: "(", count: 5000) + "all()" + String(repeating: ")", count: 5000)
        #expect(throws: SelectorError.self) { try Selector(text) }
        #expect(throws: Never.self) { try Selector(String(repeating: "!", count: 5000) + "all()") }
        #expect(throws: SelectorError.self) { try Selector("has(\(String(repeating: "a", count: 513)))") }
    }

    @Test func factsNameEachLabelOnce() throws {
        let selector = try Selector("zone == 'east' && (has(rack) || zone == 'west')")
        #expect(selector.facts(about: ["zone": "north"]) == "zone is \"north\", rack is not set")
    }
}
