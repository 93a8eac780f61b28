// SPDX-License-Identifier: Apache-2.0

import PKI
import Testing
import Values

@Suite struct TokenSignerTests {
    let signer = TokenSigner.create()
    let claims: JSON = ["sub": "system:serviceaccount:default:web", "exp": 1_900_000_000, "aud": ["api"]]

    @Test func aTokenCarriesItsClaimsAcrossARestart() throws {
        let token = try signer.sign(claims)
        let restarted = try TokenSigner(privateKeyPEM: signer.privateKeyPEM)
        #expect(try restarted.verify(token) == claims)
        #expect(restarted.keyID == signer.keyID)
        #expect(signer.publicKeyPEM.hasPrefix("-----BEGIN PUBLIC KEY-----"))
        #expect(signer.jwks["keys"][0]["kid"].string == signer.keyID)
    }

    @Test func everyChangedByteIsNoticed() throws {
        let token = Array(try signer.sign(claims).utf8)
        for index in token.indices {
            var changed = token
            changed[index] = changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "g") : UInt8(ascii: "A")
            let text = String(decoding: changed, as: UTF8.self)
            #expect(throws: TokenError.self, "byte \(index)") { try signer.verify(text) }
        }
    }

    @Test func tokensOfAnotherKeyAreNotOurs() throws {
        let token = try TokenSigner.create().sign(claims)
        #expect(throws: TokenError.notOurs("it names another key")) { try signer.verify(token) }
    }

    @Test func anUnsignedTokenIsRefused() throws {
        let header = Base64.text(JSON(["alg": "none"] as [String: String]).serialized(), url: true)
        let token = "\(header).\(Base64.text(claims.serialized(), url: true))."
        #expect(throws: TokenError.notOurs(#"its algorithm is "none", not ES256"#)) { try signer.verify(token) }
    }

    @Test(arguments: [
        "", ".", "..", "a.b", "a.b.c.d", "e30.e30.e30", "????.????.????", String(repeating: "a", count: 70_000),
    ])
    func textThatIsNoTokenIsRefused(text: String) {
        #expect(throws: TokenError.self) { try signer.verify(text) }
    }
}
