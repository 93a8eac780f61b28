// SPDX-License-Identifier: Apache-2.0

import Testing
import Values

@Suite struct AddressTests {
    @Test(arguments: [
        ("10.244.0.1", "10.244.0.1"), ("::", "::"), ("::1", "::1"), ("fe80:0:0:0:1::", "fe80::1:0:0:0"),
        ("2001:DB8::0:1", "2001:db8::1"), ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"), ("a::", "a::"),
    ])
    func readsAndWrites(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(IPAddress(canonical) == address)
        #expect(IPAddress(bytes: address.bytes) == address)
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", ":::", "1::2::3", "12345::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9", "::1.2.3", "1.2.3.4::", ":1", "1:", "::g", "1.2.3.-4", "::+1",
    ])
    func refusesAddresses(text: String) { #expect(IPAddress(text) == nil) }

    @Test func networks() throws {
        let network = try #require(CIDR("10.244.102.1/24"))
        #expect(network.hasHostBits)
        #expect(network.network.description == "10.244.102.0/24")
        #expect(network.last.description == "10.244.102.255")
        #expect(network.count == 256)
        #expect(network.netmask.description == "255.255.255.0")
        #expect(network[255]?.description == "10.244.102.255")
        #expect(network[256] == nil)
        let blocks = network.network.subnets(ofPrefixLength: 26).map(\.description)
        #expect(blocks == ["10.244.102.0/26", "10.244.102.64/26", "10.244.102.128/26", "10.244.102.192/26"])
        #expect(Array(network.subnets(ofPrefixLength: 23)).isEmpty)
        let whole = try #require(CIDR("0.0.0.0/0"))
        #expect(whole.contains(network) && whole.overlaps(network) && !network.contains(whole))
        #expect(whole.count == 1 << 32)
        let last = try #require(CIDR("255.255.255.0/24"))
        #expect(last.subnets(ofPrefixLength: 26).count { _ in true } == 4)
        #expect(try #require(CIDR("::/0")).contains(try #require(IPAddress("ffff::"))))
    }

    @Test(arguments: ["1.2.3.4", "1.2.3.4/33", "::/129", "1.2.3.4/", "1.2.3.4/-1", "1.2.3.4/+1", "/8", "1.2.3.4/1/1"])
    func refusesNetworks(text: String) { #expect(CIDR(text) == nil) }

    @Test func addressesEnd() {
        #expect(IPAddress(255, 255, 255, 255).advanced(by: 1) == nil)
        #expect(IPAddress(.v6, .max).advanced(by: 1) == nil)
        #expect(IPAddress(10, 0, 0, 255).advanced(by: 1)?.description == "10.0.1.0")
    }

    @Test func linkLayerAddresses() {
        #expect(MACAddress("ee:EE:0e:00:01:ff")?.description == "ee:ee:0e:00:01:ff")
        #expect(MACAddress("ee:ee:ee:ee:ee") == nil)
        #expect(MACAddress("ee:ee:ee:ee:ee:e") == nil)
    }
}

@Suite struct EncodingTests {
    @Test(arguments: ["", "f", "fo", "foo", "foob", "fooba", "foobar"])
    func base64RoundTrip(text: String) {
        let bytes = Array(text.utf8)
        #expect(Base64.bytes(Base64.text(bytes)) == bytes)
        #expect(Base64.bytes(Base64.text(bytes, url: true)) == bytes)
    }

    @Test func base64Vectors() {
        #expect(Base64.text(Array("fooba".utf8)) == "Zm9vYmE=")
        #expect(Base64.text([0xFB, 0xFF], url: true) == "-_8")
        #expect(Base64.bytes("Zm9v\nYmFy") == Array("foobar".utf8))
        for wrong in ["Z", "Zm9v=", "Zm=9", "Zm9*", "Z==="] { #expect(Base64.bytes(wrong) == nil) }
    }

    @Test func hex() {
        #expect(Hex.text([0, 0xAB, 0xFF]) == "00abff")
        #expect(Hex.bytes("00ABff") == [0, 0xAB, 0xFF])
        #expect(Hex.bytes("0") == nil)
        #expect(Hex.bytes("0g") == nil)
    }

    @Test func readerChecksBounds() throws {
        var reader = ByteReader([1, 2, 3, 4, 5])
        #expect(try reader.byte() == 1)
        #expect(try reader.bigEndian(UInt16.self) == 0x0203)
        #expect(throws: OutOfBytes.self) { try reader.bigEndian(UInt32.self) }
        #expect(throws: OutOfBytes.self) { try reader.read(-1) }
        #expect(try reader.littleEndian(UInt16.self) == 0x0504)
        #expect(reader.isAtEnd)
    }
}

@Suite struct TimestampTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", Int64(0)), ("2026-11-23T21:10:01Z", 1_795_468_201),
        ("2000-02-29T12:00:00+02:00", 951_818_400),
        ("1969-12-31T23:59:59Z", -1), ("1900-03-01T00:00:00Z", -2_203_891_200),
    ])
    func reads(text: String, seconds: Int64) throws {
        let time = try #require(Timestamp(text))
        #expect(time.seconds == seconds)
        #expect(Timestamp(time.description) == time)
    }

    @Test func fractions() throws {
        let time = try #require(Timestamp("2026-11-23T21:10:01.123456789Z"))
        #expect(time.nanoseconds == 123_456_789)
        #expect(time.micro == "2026-11-23T21:10:01.123456Z")
        #expect(time.nano == "2026-11-23T21:10:01.123456789Z")
        #expect(time.adding(seconds: 0.9).seconds == time.seconds + 1)
    }

    @Test(arguments: [
        "", "2026-11-23", "2026-13-01T00:00:00Z", "2026-11-23T25:00:00Z", "2026-11-23T21:10:01",
        "2026-11-23T21:10:01.Z", "x",
    ])
    func refuses(text: String) { #expect(Timestamp(text) == nil) }
}
