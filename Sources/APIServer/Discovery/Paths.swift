// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeObjects
import PKI
import Storage
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
        case "healthz", "livez", "readyz": return await health(request, parts)
        case "logs": return logFile(info.path)
        case "version": return .json(version)
        case "metrics":
            return Reply(
                headers: [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")],
                body: .bytes(
                    Array(
                        metrics.text(
                            mirror, storedBytes: await storage.storedBytes, version: configuration.version
                        ).utf8)))
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
        "/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/healthz", "/healthz/etcd",
        "/healthz/ping", "/livez", "/livez/etcd", "/livez/ping", "/logs", "/metrics", "/openapi/v2", "/openapi/v3",
        "/openid/v1/jwks", "/readyz", "/readyz/etcd",
        "/readyz/informer-sync", "/readyz/ping", "/readyz/shutdown", "/version",
    ]

    private var jwksURI: String {
        "https://\(configuration.advertiseAddress):\(configuration.advertisePort)/openid/v1/jwks"
    }

    /// A file of the control plane's logs, or what there is of them.
    private func logFile(_ path: String) -> Reply {
        guard let folder = configuration.logDirectory.map({ FileFolder(root: $0) }) else { return .pathNotFound }
        switch folder.look(path, below: "/logs") {
        case .nothing: return .pathNotFound
        case .redirect(let target): return Reply(status: 301, headers: [("Location", target)], body: .bytes([]))
        case .listing(let page):
            return Reply(
                headers: [("Content-Type", "text/html; charset=utf-8")], body: .bytes(Array(page.utf8)))
        case .file(let file):
            return Reply(
                headers: [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", String(file.size))],
                body: .stream { sink in try await file.read { try await sink.write($0) } })
        }
    }

    private var version: JSON {
        let numbers = configuration.version.dropFirst().split(separator: ".")
        return [
            "major": JSON(numbers.first.map(String.init) ?? "1"),
            "minor": JSON(numbers.dropFirst().first.map(String.init) ?? ""),
            "emulationMajor": JSON(numbers.first.map(String.init) ?? "1"),
            "emulationMinor": JSON(numbers.dropFirst().first.map(String.init) ?? ""),
            // What clients of the version before rely on is there.
            "minCompatibilityMajor": JSON(numbers.first.map(String.init) ?? "1"),
            "minCompatibilityMinor": JSON(
                numbers.dropFirst().first.flatMap { Int($0) }.map { String(max($0 - 1, 0)) } ?? ""),
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
