// SPDX-License-Identifier: Apache-2.0

import NetworkModel
import Testing
import Values

/// Expected values come from Python's hashlib.
@Suite struct DigestTests {
    static let long = String(repeating: "abcdefgh", count: 40)

    @Test func sha1() {
        #expect(Hex.text(SHA1.digest("".utf8)) == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        #expect(Hex.text(SHA1.digest("default.web".utf8)) == "68caf03a5f4aa41b0a8b0a4b0ad8f3dd6f51c354")
        #expect(Hex.text(SHA1.digest(Self.long.utf8)) == "0bc56647c5245196e44287b54c72fd9a48904247")
    }

    @Test func sha256() {
        #expect(
            Hex.text(SHA256.digest("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            Hex.text(SHA256.digest(Self.long.utf8))
                == "4273267c8ce854ce6d14d37070c0d809da76fe211a5c0cc0f8a533723ebed06e")
    }

    @Test func sha3() {
        #expect(
            Hex.text(SHA3.digest256("".utf8)) == "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a")
        #expect(
            Hex.text(SHA3.digest256(Self.long.utf8))
                == "84ea25ffd0edd8732d809bad11f4f8dc5708bcd4aad3d7b6916ff25baeeaef61")
        #expect(IPAMNames.hostnameHash("node-1") == "A3XPYDATRKB7Q4SM2O5FN4RXIHBFIL2PITFX26BAIP5XAB2X74CA")
    }
}

@Suite struct IPAMNamesTests {
    @Test func blocks() throws {
        #expect(IPAMNames.block(try #require(CIDR("10.244.0.64/26"))) == "10-244-0-64-26")
        #expect(IPAMNames.block(try #require(CIDR("fd00::40/122"))) == "fd00--40-122")
    }

    @Test func affinitiesAreShortenedToFit() throws {
        let cidr = try #require(CIDR("10.0.0.0/26"))
        #expect(IPAMNames.affinity(node: "node-1", cidr) == "node-1-10-0-0-0-26")
        let long = String(repeating: "n", count: 250)
        let name = IPAMNames.affinity(node: long, cidr)
        #expect(name.utf8.count == 252)
        #expect(name.hasSuffix("-10-0-0-0-26"))
        #expect(name != IPAMNames.affinity(node: long + "m", cidr))
    }

    @Test func interfaces() {
        #expect(IPAMNames.hostInterface(namespace: "default", pod: "web") == "cali68caf03a5f4")
        #expect(IPAMNames.vxlanMAC(node: "node-1").map { $0.bytes[0] & 3 } == 2)
    }
}
