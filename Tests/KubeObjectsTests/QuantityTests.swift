// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct QuantityTests {
    @Test(arguments: [
        ("0", "0"), ("1", "1"), ("0.5", "500m"), ("1.5", "1500m"), ("100m", "100m"), ("1000m", "1"), ("1024Mi", "1Gi"),
        ("1500Mi", "1500Mi"), ("1.5Gi", "1536Mi"), ("2e3", "2e3"), ("2E3", "2e3"), ("1000", "1k"), ("1k", "1k"),
        ("12345678", "12345678"), ("-1", "-1"), ("+1", "1"), (".5", "500m"), ("1.", "1"), ("10u", "10u"), ("1n", "1n"),
        ("0.1n", "1n"), ("1Ei", "1Ei"), ("128Mi", "128Mi"), ("0.5Mi", "512Ki"), ("1E", "1E"),
        ("99999999999999999999", "9223372036854775807"), ("0Gi", "0"),
    ])
    func canonicalText(_ text: String, _ canonical: String) throws {
        #expect(try #require(Quantity(text)).description == canonical)
    }

    @Test(arguments: ["", "m", "1mm", "1 ", "1,5", "0x10", "--1", "1.2.3", "Ki", "1e", "1e99", "1KI"])
    func refusedText(_ text: String) { #expect(Quantity(text) == nil) }

    @Test func valuesRoundUp() throws {
        #expect(try #require(Quantity("100m")).milliValue == 100)
        #expect(try #require(Quantity("100m")).value == 1)
        #expect(try #require(Quantity("1.5Gi")).value == 1_610_612_736)
        #expect(try #require(Quantity("1u")).milliValue == 1)
        #expect(try #require(Quantity("-1500m")).value == -1)
    }

    @Test func formatsDoNotMatterForEquality() throws {
        #expect(Quantity("1024") == Quantity("1Ki"))
        #expect(try #require(Quantity("999m")) < #require(Quantity("1")))
        #expect(try #require(Quantity("1Gi")) + #require(Quantity("512Mi")) == #require(Quantity("1.5Gi")))
        #expect((try #require(Quantity("2")) - #require(Quantity("500m"))).description == "1500m")
        #expect((Quantity.zero + Quantity(bytes: 2048)).description == "2Ki")
    }

    @Test func textRoundTrips() throws {
        for nano in stride(from: Int64(-3_000_000_000), through: 3_000_000_000, by: 123_456_789) {
            let quantity = Quantity(nano: Int128(nano))
            #expect(Quantity(quantity.description) == quantity)
        }
        for shift in 0..<62 {
            let quantity = Quantity(bytes: 1 << Int64(shift))
            #expect(Quantity(quantity.description) == quantity)
        }
    }

    static let durations: [(Double, String)] = [
        (-5, "<invalid>"), (-0.5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"),
        (600, "10m"), (10799, "179m"), (10800, "3h"), (11000, "3h3m"), (28800, "8h"), (172_799, "47h"), (172_800, "2d"),
        (190_000, "2d4h"), (691_200, "8d"), (63_072_000, "2y"), (64_000_000, "2y10d"), (31_536_000 * 9, "9y"),
    ]

    @Test(arguments: durations)
    func duration(_ seconds: Double, _ text: String) { #expect(HumanDuration.text(seconds: seconds) == text) }

    @Test func ageOfNothingIsUnknown() {
        #expect(HumanDuration.age(since: nil, now: Timestamp(seconds: 0)) == "<unknown>")
    }
}
