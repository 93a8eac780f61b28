// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import PKI
import Values

extension APIServer {
    /// Paths that are not resources: health, version, discovery, schemas.
    func answerPath(_ request: IncomingRequest, _ info: RequestInfo, _ user: UserInfo) async throws -> Reply {
        guard ["GET", "HEAD"].contains(request.method) else {
            return .text("405 method not allowed\n", status: 405)
        }
        let parts = info.path.split(separator: "/").map(String.init)
        switch parts.first {
        case nil: return .json(["paths": JSON(Self.paths)])
        case "healthz", "livez", "readyz": return health(request, parts)
        case "version": return .json(version)
        case "metrics":
            return Reply(
                headers: [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")],
                body: .bytes(Array(metrics.text(mirror).utf8)))
        case "api", "apis": return served.current.documents.discovery(request, parts) ?? .pathNotFound
        case "openapi": return served.current.documents.openAPI(request, parts) ?? .pathNotFound
        case ".well-known" where parts == [".well-known", "openid-configuration"]:
            return .json([
                "issuer": JSON(configuration.issuer), "jwks_uri": JSON(jwksURI),
                "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            ])
        case "openid" where parts == ["openid", "v1", "jwks"]:
            return Reply(
                headers: [("Content-Type", "application/jwk-set+json")],
                body: .bytes(tokens.signer.jwks.serialized()))
        default: return .pathNotFound
        }
    }

    private static let paths = [
        "/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics",
        "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version",
    ]

    private var jwksURI: String {
        "https://\(configuration.advertiseAddress):\(configuration.advertisePort)/openid/v1/jwks"
    }

    private func health(_ request: IncomingRequest, _ parts: [String]) -> Reply {
        guard request.query("verbose") != nil, parts.count == 1 else { return .text("ok") }
        let check = parts.first ?? "healthz"
        return .text("[+]ping ok\n[+]storage ok\n\(check) check passed\n")
    }

    private var version: JSON {
        let numbers = configuration.version.dropFirst().split(separator: ".")
        return [
            "major": JSON(numbers.first.map(String.init) ?? "1"),
            "minor": JSON(numbers.dropFirst().first.map(String.init) ?? ""),
            "emulationMajor": JSON(numbers.first.map(String.init) ?? "1"),
            "emulationMinor": JSON(numbers.dropFirst().first.map(String.init) ?? ""),
            "gitVersion": JSON(configuration.version), "gitCommit": "catbird", "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.0", "compiler": "swift",
            "platform": JSON("linux/\(Self.architecture)"),
        ]
    }

    private static var architecture: String {
        #if arch(arm64)
        "arm64"
        #else
        "amd64"
        #endif
    }
}
