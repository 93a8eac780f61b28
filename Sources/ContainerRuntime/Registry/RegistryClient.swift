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
    static let manifestTypes = [
        "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
    ]

    let reference: ImageReference
    let endpoint: RegistrySettings.Endpoint
    private let settings: RegistrySettings
    private let credentials: [RegistryCredential]
    private let helper: String?
    private var authorization: String?
    private var image: String { reference.description }

    init(
        _ reference: ImageReference, _ endpoint: RegistrySettings.Endpoint, _ settings: RegistrySettings,
        credentials: [RegistryCredential], helper: String?
    ) {
        self.reference = reference
        self.endpoint = endpoint
        self.settings = settings
        self.credentials = credentials
        self.helper = helper
    }

    /// A manifest or an index, checked against its digest when it was asked for by one.
    func manifest(_ identifier: String) async throws -> (bytes: [UInt8], digest: String) {
        let body = try await document("manifests/\(identifier)", accept: Self.manifestTypes, limit: 8 << 20)
        let digest = Digest.of(body)
        if Digest.isValid(identifier), identifier != digest {
            throw corrupt("the manifest \(identifier) that \(endpoint.host) sent has another content (\(digest))")
        }
        return (body, digest)
    }

    /// A small blob: a configuration.
    func blob(_ digest: String) async throws -> [UInt8] {
        let body = try await document("blobs/\(digest)", accept: [], limit: 16 << 20)
        guard Digest.of(body) == digest else {
            throw corrupt("the configuration that \(endpoint.host) sent is not \(digest)")
        }
        return body
    }

    /// Something small, with a limit to its size and one to its time: from the first connection to its last byte.
    private func document(_ path: String, accept: [String], limit: Int) async throws -> [UInt8] {
        try await patiently { try await self.collect(try await self.get(path, accept: accept), limit: limit) }
    }

    private func patiently<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
        let words = "it did not come to an end within \(settings.patience)"
        return try await within(settings.patience, body, late: unreachable(words, cure: Self.elsewhere))
    }

    /// Streams a layer to a file and checks its size and digest. Nothing is kept in memory.
    func download(_ digest: String, size: Int?, to path: String) async throws {
        let response = try await patiently { try await self.get("blobs/\(digest)", accept: []) }
        let size = size ?? UnpackLimits().bytes
        let began = ContinuousClock.now
        let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL)
        var hash = SHA256()
        var count = 0
        do {
            for try await buffer in response.body {
                count += buffer.readableBytes
                if count > size {
                    throw corrupt("layer \(digest) from \(endpoint.host) is longer than the \(size) bytes announced")
                }
                if settings.pace.isTooSlow(count, after: .now - began) {
                    let words = "of layer \(digest) no more than \(count) bytes came in \(ContinuousClock.now - began)"
                    throw unreachable(words, cure: Self.elsewhere)
                }
                buffer.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
                try file.write(buffer.readableBytesView)
            }
        } catch let error as ImageError { throw error } catch let error as Errno { throw error } catch {
            try Task.checkCancellation()
            throw ImageError(
                .unreachable,
                "pulling image \"\(image)\": the connection to registry \(endpoint.host) broke while layer \(digest) came: \(ConnectionFailure(error)); try again"
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
        case 400 where endpoint.isAttempt:
            // Servers of HTTPS say so to whoever speaks HTTP.
            throw unreachable("it does not answer plain HTTP (400)", cure: Self.elsewhere)
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
        var request = request
        // Registries keep layers elsewhere. Each host has a way of its own, through a proxy or without.
        for _ in 0...5 {
            let url = try RegistryURL(request.url, image: image)
            let isEndpoint = url.authority == endpoint.host
            let proxy = settings.proxies.proxy(scheme: url.scheme, authority: url.authority)
            if let proxy, proxy.kind == .unsupported {
                throw unreachable(
                    "the proxy \(proxy) cannot be used",
                    cure: "give \(proxy.variable) as http://HOST:PORT or socks5://HOST:PORT")
            }
            let way = RegistryTransport.Way(
                proxy: proxy,
                verifiesCertificates: isEndpoint ? endpoint.verifiesCertificates : !settings.isInsecure(url.authority),
                network: settings.network)
            let response: HTTPClientResponse
            do { response = try await RegistryTransport.shared.execute(request, by: way) } catch {
                try Task.checkCancellation()
                throw unreachable(error, at: url, proxy)
            }
            guard [301, 302, 303, 307, 308].contains(response.status.code),
                let location = response.headers.first(name: "Location")
            else { return response }
            let next = try url.resolving(location, image: image)
            if next.authority != url.authority || next.scheme != url.scheme {
                request.headers.remove(name: "Authorization")
            }
            if response.status.code <= 303 {
                request.method = .GET
                request.body = nil
            } else if request.body != nil, next.authority != url.authority {
                throw ImageError(
                    .unauthorized,
                    "pulling image \"\(image)\": \(url.authority) wants credentials sent on to \(next.authority); refused"
                )
            }
            request.url = next.text
        }
        throw ImageError(
            .other,
            "pulling image \"\(image)\": registry \(endpoint.host) sends from one address to another without end")
    }

    private static let elsewhere = "try again, or bring the image in with \"catbird image load FILE\""

    private func unreachable(_ error: any Error) -> any Error {
        guard let url = try? RegistryURL(endpoint.base, image: image) else { return error }
        return unreachable(error, at: url, settings.proxy(for: endpoint))
    }

    /// In words: what cannot be reached, by which way, why, and what helps.
    private func unreachable(_ error: any Error, at url: RegistryURL, _ proxy: ProxySettings.Proxy?) -> any Error {
        let failure = ConnectionFailure(error)
        let cure =
            switch failure.kind {
            case .plainHTTP:
                "start the cluster with --insecure-registry \(url.authority), or put it into \"insecure\" of /etc/catbird/registries.json"
            case .certificate:
                "add its authority to this machine's (update-ca-certificates), or start the cluster with --insecure-registry \(url.authority)"
            case .proxy: "check the proxy, or name the host in NO_PROXY"
            default:
                proxy == nil
                    ? "check the network and the name, set HTTPS_PROXY where a proxy is needed, or bring the image in with \"catbird image load FILE\""
                    : "check the proxy, name the host in NO_PROXY, or bring the image in with \"catbird image load FILE\""
            }
        return unreachable("\(failure)", cure: cure, at: url.authority, proxy)
    }

    private func unreachable(_ words: String, cure: String) -> ImageError {
        unreachable(words, cure: cure, at: endpoint.host, settings.proxy(for: endpoint))
    }

    private func unreachable(
        _ words: String, cure: String, at authority: String, _ proxy: ProxySettings.Proxy?
    ) -> ImageError {
        let what = authority == endpoint.host ? endpoint.isMirror ? "mirror" : "registry" : "\(endpoint.host)'s server"
        let way = proxy.map { " through the proxy \($0)" } ?? ""
        return ImageError(
            .unreachable,
            "pulling image \"\(image)\": \(what) \(authority) cannot be reached\(way): \(words)", next: cure)
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
