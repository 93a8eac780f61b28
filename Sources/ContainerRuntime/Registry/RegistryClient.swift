// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Crypto
import Glibc
import Linux
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import Values

/// Speaks the distribution project's API with one registry about one image.
actor RegistryClient {
    /// One for the process; its connections are shared by all pulls.
    private static let http: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.timeout = HTTPClient.Configuration.Timeout(connect: .seconds(10), read: .seconds(60))
        configuration.redirectConfiguration = .follow(max: 5, allowCycles: false)
        configuration.decompression = .disabled
        // A refusal is an answer: whoever pulls decides when to try again.
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    static let manifestTypes = [
        "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
    ]

    let reference: ImageReference
    let endpoint: RegistrySettings.Endpoint
    private let credentials: [RegistryCredential]
    private let helper: String?
    private var authorization: String?
    private var image: String { reference.description }

    init(
        _ reference: ImageReference, _ endpoint: RegistrySettings.Endpoint, credentials: [RegistryCredential],
        helper: String?
    ) {
        self.reference = reference
        self.endpoint = endpoint
        self.credentials = credentials
        self.helper = helper
    }

    /// A manifest or an index, checked against its digest when it was asked for by one.
    func manifest(_ identifier: String) async throws -> (bytes: [UInt8], digest: String) {
        let response = try await get("manifests/\(identifier)", accept: Self.manifestTypes)
        let body = try await collect(response, limit: 8 << 20)
        let digest = Digest.of(body)
        if Digest.isValid(identifier), identifier != digest {
            throw corrupt("the manifest \(identifier) that \(endpoint.host) sent has another content (\(digest))")
        }
        return (body, digest)
    }

    /// A small blob: a configuration.
    func blob(_ digest: String) async throws -> [UInt8] {
        let body = try await collect(try await get("blobs/\(digest)", accept: []), limit: 16 << 20)
        guard Digest.of(body) == digest else {
            throw corrupt("the configuration that \(endpoint.host) sent is not \(digest)")
        }
        return body
    }

    /// Streams a layer to a file and checks its size and digest. Nothing is kept in memory.
    func download(_ digest: String, size: Int?, to path: String) async throws {
        let response = try await get("blobs/\(digest)", accept: [])
        let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL)
        var hash = SHA256()
        var count = 0
        do {
            for try await buffer in response.body {
                count += buffer.readableBytes
                if let size, count > size {
                    throw corrupt("layer \(digest) from \(endpoint.host) is longer than the \(size) bytes announced")
                }
                buffer.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
                try file.write(buffer.readableBytesView)
            }
        } catch let error as ImageError { throw error } catch let error as Errno { throw error } catch {
            try Task.checkCancellation()
            throw ImageError(
                .unreachable,
                "pulling image \"\(image)\": the connection to registry \(endpoint.host) broke while layer \(digest) came: \(Self.reason(error)); try again"
            )
        }
        let found = Digest.text(hash)
        guard found == digest else {
            throw corrupt("layer \(digest) from \(endpoint.host) has another content (\(found), \(count) bytes)")
        }
    }

    private func corrupt(_ text: String) -> ImageError {
        ImageError(.corrupt, "pulling image \"\(image)\": \(text); try again")
    }

    private func collect(_ response: HTTPClientResponse, limit: Int) async throws -> [UInt8] {
        do {
            return Array((try await response.body.collect(upTo: limit)).readableBytesView)
        } catch is NIOTooManyBytesError {
            throw corrupt("registry \(endpoint.host) sent more than \(limit) bytes where a small document belongs")
        } catch {
            try Task.checkCancellation()
            throw unreachable(error)
        }
    }

    private func get(_ path: String, accept: [String]) async throws -> HTTPClientResponse {
        let url = "\(endpoint.base)/v2/\(reference.path)/\(path)"
        var response = try await send(url, accept: accept)
        if response.status == .unauthorized {
            try await authenticate(response)
            response = try await send(url, accept: accept)
        }
        switch response.status.code {
        case 200...299: return response
        case 401, 403: throw await unauthorized(response)
        case 404:
            let what = path.hasPrefix("manifests/") ? "" : " (its part \(path))"
            throw ImageError(
                .notFound,
                "pulling image \"\(image)\": registry \(endpoint.host) has no such image\(what): not found: check the name and the tag\(await said(response))"
            )
        case 429:
            throw ImageError(
                .other,
                "pulling image \"\(image)\": registry \(endpoint.host) refuses more pulls for now (429 Too Many Requests)\(await said(response)): wait, or log in with \"docker login\""
            )
        default:
            throw ImageError(
                response.status.code >= 500 ? .unreachable : .other,
                "pulling image \"\(image)\": registry \(endpoint.host) answered \(response.status.code) \(response.status.reasonPhrase)\(await said(response))"
            )
        }
    }

    private func send(_ url: String, accept: [String]) async throws -> HTTPClientResponse {
        var request = HTTPClientRequest(url: url)
        request.headers.add(name: "User-Agent", value: "catbird")
        for type in accept { request.headers.add(name: "Accept", value: type) }
        if let authorization { request.headers.add(name: "Authorization", value: authorization) }
        return try await execute(request)
    }

    private func execute(_ request: HTTPClientRequest) async throws -> HTTPClientResponse {
        do { return try await Self.http.execute(request, deadline: .distantFuture) } catch {
            try Task.checkCancellation()
            throw unreachable(error)
        }
    }

    private static func reason(_ error: any Error) -> String {
        let text = "\(error)"
        if let error = error as? HTTPClientError {
            if error == .connectTimeout { return "no answer within 10 s" }
            if error == .readTimeout { return "nothing came for 60 s" }
            if error == .remoteConnectionClosed { return "it closed the connection" }
        }
        if let error = error as? IOError { return Errno.text(error.errnoCode) }
        if text.contains("ECONNREFUSED") || text.contains("Connection refused") { return "connection refused" }
        if text.contains("ENETUNREACH") || text.contains("Network is unreachable") {
            return "no route to it (network is unreachable)"
        }
        if text.contains("EHOSTUNREACH") || text.contains("No route to host") { return "no route to host" }
        if text.contains("getaddrinfo") || text.contains("Name or service not known") || text.contains("unknown(host") {
            return "its name cannot be resolved"
        }
        return String(text.prefix(300))
    }

    private func unreachable(_ error: any Error) -> any Error {
        let mirror = endpoint.isMirror ? "mirror" : "registry"
        return ImageError(
            .unreachable,
            "pulling image \"\(image)\": \(mirror) \(endpoint.host) cannot be reached: \(Self.reason(error)): check the network and the name, or bring the image in with \"catbird image load FILE\""
        )
    }

    /// The registry's own words, when it has any.
    private func said(_ response: HTTPClientResponse) async -> String {
        guard let buffer = try? await response.body.collect(upTo: 16384),
            let json = try? JSON(parsing: Array(buffer.readableBytesView)),
            let error = json["errors"][0]
        else { return "" }
        let text = [error["code"].string, error["message"].string].compactMap(\.self).filter { !$0.isEmpty }
        return text.isEmpty ? "" : " (it says: \(text.joined(separator: ": ")))"
    }

    private func unauthorized(_ response: HTTPClientResponse) async -> ImageError {
        ImageError(
            .unauthorized, "pulling image \"\(image)\": registry \(endpoint.host) \(refusal)\(await said(response))")
    }

    private var refusal: String {
        let found = RegistryCredential.matching(reference, among: credentials)
        if let helper {
            return
                "wants credentials, which are with the helper \"docker-credential-\(helper)\" that Catbird does not run: put them into \"auths\" of docker's config.json, or make a Secret with \"kubectl create secret docker-registry\" and name it in imagePullSecrets"
        }
        if let first = found.first {
            return
                "refuses the credentials of \"\(first.username)\" (access denied, or the image does not exist): check them with \"docker login \(reference.domain)\""
        }
        return
            "wants credentials, or the image does not exist: log in with \"docker login \(reference.domain)\", or make a Secret with \"kubectl create secret docker-registry\" and name it in imagePullSecrets"
    }

    // MARK: Authentication

    private func authenticate(_ response: HTTPClientResponse) async throws {
        let challenges = response.headers["WWW-Authenticate"].flatMap(AuthenticationChallenge.parse)
        let credential = RegistryCredential.matching(reference, among: credentials).first
        _ = try? await response.body.collect(upTo: 65536)
        if let token = credential?.registryToken {
            authorization = "Bearer \(token)"
        } else if let bearer = challenges.first(where: { $0.scheme == "bearer" }) {
            authorization = "Bearer \(try await token(bearer, credential))"
        } else if challenges.contains(where: { $0.scheme == "basic" }), let credential, !credential.username.isEmpty {
            authorization = Self.basic(credential)
        } else {
            throw ImageError(.unauthorized, "pulling image \"\(image)\": registry \(endpoint.host) \(refusal)")
        }
    }

    private static func basic(_ credential: RegistryCredential) -> String {
        "Basic " + Base64.text(Array("\(credential.username):\(credential.password)".utf8))
    }

    private func token(_ challenge: AuthenticationChallenge, _ credential: RegistryCredential?) async throws -> String {
        guard let realm = challenge.parameters["realm"], realm.hasPrefix("https://") || realm.hasPrefix("http://")
        else {
            throw ImageError(.other, "pulling image \"\(image)\": registry \(endpoint.host) names no token service")
        }
        // Credentials go over TLS, or to this machine, or where the user said so.
        let isPlain = realm.hasPrefix("http://")
        if isPlain, credential != nil, !endpoint.base.hasPrefix("http://") {
            throw ImageError(
                .unauthorized,
                "pulling image \"\(image)\": registry \(endpoint.host) wants credentials sent unencrypted to \(realm); refused"
            )
        }
        let scope = challenge.parameters["scope"] ?? "repository:\(reference.path):pull"
        var parameters = [("scope", scope)]
        if let service = challenge.parameters["service"] { parameters.append(("service", service)) }
        var request: HTTPClientRequest
        if let refresh = credential?.identityToken {
            parameters += [("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", "catbird")]
            request = HTTPClientRequest(url: realm)
            request.method = .POST
            request.headers.add(name: "Content-Type", value: "application/x-www-form-urlencoded")
            request.body = .bytes(ByteBuffer(string: Self.form(parameters)))
        } else {
            request = HTTPClientRequest(url: realm + (realm.contains("?") ? "&" : "?") + Self.form(parameters))
            if let credential, !credential.username.isEmpty {
                request.headers.add(name: "Authorization", value: Self.basic(credential))
            }
        }
        request.headers.add(name: "User-Agent", value: "catbird")
        let response = try await execute(request)
        guard response.status == .ok else { throw await unauthorized(response) }
        let json = try? JSON(parsing: try await collect(response, limit: 1 << 20))
        guard let token = json["token"].string ?? json["access_token"].string, !token.isEmpty,
            token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else {
            throw ImageError(.other, "pulling image \"\(image)\": the token service of \(endpoint.host) gave no token")
        }
        return token
    }

    static func form(_ parameters: [(String, String)]) -> String {
        func escaped(_ text: String) -> String {
            var result = ""
            for byte in text.utf8 {
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                    result.unicodeScalars.append(Unicode.Scalar(byte))
                default: result += "%" + Hex.text([byte]).uppercased()
                }
            }
            return result
        }
        return parameters.map { "\($0.0)=\(escaped($0.1))" }.joined(separator: "&")
    }
}
