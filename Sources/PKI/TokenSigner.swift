// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
public import Values

/// Why a token is not one of ours.
public enum TokenError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Not three parts of Base64 holding JSON.
    case malformed(String)
    /// Signed by an algorithm other than ES256, or by another key.
    case notOurs(String)
    /// Header and claims were not signed as they stand.
    case badSignature

    public var description: String {
        switch self {
        case .malformed(let reason): "the token is malformed: \(reason)"
        case .notOurs(let reason): "the token was not issued here: \(reason)"
        case .badSignature: "the token's signature does not match"
        }
    }
}

/// Signs and verifies JSON web tokens with ES256 (RFC 7515, 7518): the tokens of service accounts.
public struct TokenSigner: Sendable {
    private let key: P256.Signing.PrivateKey
    /// The key's thumbprint (RFC 7638).
    public let keyID: String

    private init(_ key: P256.Signing.PrivateKey) {
        self.key = key
        let (x, y) = Self.coordinates(of: key)
        let text = #"{"crv":"P-256","kty":"EC","x":"\#(x)","y":"\#(y)"}"#
        keyID = Base64.text(Array(SHA256.hash(data: Array(text.utf8))), url: true)
    }

    /// A signer with a new key.
    public static func create() -> TokenSigner { TokenSigner(P256.Signing.PrivateKey()) }

    /// A signer with a key that was saved.
    public init(privateKeyPEM: String) throws {
        do {
            self.init(try P256.Signing.PrivateKey(pemRepresentation: privateKeyPEM))
        } catch {
            throw PKIError(
                "the key that signs service account tokens cannot be read (want a P-256 key in PEM): \(error)")
        }
    }

    public var privateKeyPEM: String { key.pemRepresentation + "\n" }
    public var publicKeyPEM: String { key.publicKey.pemRepresentation + "\n" }

    /// The public key as a JSON Web Key Set, as `/openid/v1/jwks` serves it.
    public var jwks: JSON {
        let (x, y) = Self.coordinates(of: key)
        return [
            "keys": [
                [
                    "use": "sig", "kty": "EC", "kid": JSON(keyID), "crv": "P-256", "alg": "ES256", "x": JSON(x),
                    "y": JSON(y),
                ]
            ]
        ]
    }

    /// A token that carries the claims.
    public func sign(_ claims: JSON) throws -> String {
        let header: JSON = ["alg": "ES256", "kid": JSON(keyID)]
        let signed =
            Base64.text(header.serialized(), url: true) + "." + Base64.text(claims.serialized(), url: true)
        let signature = try key.signature(for: Array(signed.utf8))
        return signed + "." + Base64.text(Array(signature.rawRepresentation), url: true)
    }

    /// The claims of a token that this key signed. Only the signature is checked: whoever asks judges the claims.
    public func verify(_ token: String) throws(TokenError) -> JSON {
        guard token.utf8.count <= 64 << 10 else { throw .malformed("it is longer than 64 KiB") }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3 else { throw .malformed("it has \(parts.count) parts, not 3") }
        let header = try Self.json(parts[0], "header")
        guard header["alg"].string == "ES256" else {
            throw .notOurs("its algorithm is \(header["alg"]?.text() ?? "not named"), not ES256")
        }
        if let id = header["kid"].string, id != keyID { throw .notOurs("it names another key") }
        guard let raw = Base64.bytes(parts[2]),
            let signature = try? P256.Signing.ECDSASignature(rawRepresentation: raw)
        else { throw .badSignature }
        let signed = Array(token.utf8.prefix(parts[0].utf8.count + 1 + parts[1].utf8.count))
        guard key.publicKey.isValidSignature(signature, for: signed) else { throw .badSignature }
        return try Self.json(parts[1], "claims")
    }

    private static func json(_ part: Substring, _ what: String) throws(TokenError) -> JSON {
        guard let bytes = Base64.bytes(part) else { throw .malformed("its \(what) is no Base64") }
        guard let value = try? JSON(parsing: bytes), value.object != nil else {
            throw .malformed("its \(what) is no JSON object")
        }
        return value
    }

    private static func coordinates(of key: P256.Signing.PrivateKey) -> (x: String, y: String) {
        let raw = Array(key.publicKey.rawRepresentation)
        return (Base64.text(raw.prefix(32), url: true), Base64.text(raw.dropFirst(32), url: true))
    }
}

/// SHA-256 as text.
public enum SHA256Hex {
    /// The digest of the bytes in lower-case hexadecimal.
    public static func digest(_ bytes: [UInt8]) -> String { Hex.text(SHA256.hash(data: bytes)) }
    public static func digest(_ text: String) -> String { digest(Array(text.utf8)) }
}
