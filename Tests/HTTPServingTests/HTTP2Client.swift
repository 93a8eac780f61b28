// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL
import PKI
import Testing
import Values

/// A server's and its clients' certificates.
struct TestTLS: Sendable {
    let authority: CertificateAuthority
    let server: IssuedCertificate

    init() throws {
        authority = try CertificateAuthority.create(commonName: "ca")
        server = try authority.issue(commonName: "server", ipAddresses: [.init(127, 0, 0, 1)])
    }

    var security: HTTPServerConfiguration.Security {
        .tls(
            certificatePEM: server.certificatePEM, privateKeyPEM: server.privateKeyPEM,
            clientCAPEM: authority.certificatePEM)
    }

    /// A client's side that offers these protocols.
    func client(_ protocols: [String], certificate: IssuedCertificate? = nil) throws -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.applicationProtocols = protocols
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.certificatePEM.utf8)))
        tls.certificateVerification = .noHostnameVerification
        if let certificate {
            tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.certificatePEM.utf8)).map {
                .certificate($0)
            }
            tls.privateKey = .privateKey(
                try NIOSSLPrivateKey(bytes: Array(certificate.privateKeyPEM.utf8), format: .pem))
        }
        return try NIOSSLContext(configuration: tls)
    }
}

/// One HTTP/2 connection of a client, whose streams a test opens as it likes.
struct HTTP2Client: Sendable {
    typealias Payload = HTTP2Frame.FramePayload
    typealias Stream = NIOAsyncChannel<Payload, Payload>
    typealias Writer = NIOAsyncChannelOutboundWriter<Payload>
    typealias Frames = NIOAsyncChannelInboundStream<Payload>.AsyncIterator

    struct Answer: Sendable {
        var status: String
        var headers: HPACKHeaders
        var body: String
        /// The code of a reset that came instead of, or after, the end.
        var reset: HTTP2ErrorCode?
    }

    let channel: any Channel
    /// What concerns the connection as a whole: SETTINGS, GOAWAY.
    let root: AsyncStream<HTTP2Frame>
    private let streams: NIOHTTP2Handler.AsyncStreamMultiplexer<Void>

    static func with(
        port: Int, _ tls: TestTLS, certificate: IssuedCertificate? = nil,
        _ body: @Sendable @escaping (HTTP2Client) async throws -> Void
    ) async throws {
        let context = try tls.client(["h2"], certificate: certificate)
        let (root, continuation) = AsyncStream<HTTP2Frame>.makeStream()
        let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
                    let streams = try pipeline.configureAsyncHTTP2Pipeline(mode: .client) { stream in
                        stream.eventLoop.makeSucceededVoidFuture()
                    }
                    try pipeline.addHandler(RootFrames(continuation))
                    return HTTP2Client(channel: channel, root: root, streams: streams)
                }
            }
        do { try await body(client) } catch {
            try? await client.channel.close()
            throw error
        }
        try? await client.channel.close()
    }

    static func fields(_ method: String, _ path: String, _ more: [(String, String)] = []) -> HPACKHeaders {
        var fields: HPACKHeaders = [
            ":method": method, ":scheme": "https", ":authority": "kubernetes", ":path": path,
        ]
        fields.add(contentsOf: more)
        return fields
    }

    /// Opens a stream, which is reset at the end unless both sides have ended it.
    func open<Result: Sendable>(
        _ body: @Sendable (NIOAsyncChannelInboundStream<Payload>, Writer) async throws -> Result
    ) async throws -> Result {
        let stream = try await streams.openStream { channel in
            channel.eventLoop.makeCompletedFuture { try Stream(wrappingChannelSynchronously: channel) }
        }
        return try await stream.executeThenClose(body)
    }

    /// A whole request and its answer.
    func send(
        _ method: String, _ path: String, _ more: [(String, String)] = [], body: String? = nil
    ) async throws -> Answer {
        try await open { inbound, outbound in
            let fields = Self.fields(method, path, more)
            try await outbound.write(.headers(.init(headers: fields, endStream: body == nil)))
            if let body {
                try await outbound.write(.data(.init(data: .byteBuffer(ByteBuffer(string: body)), endStream: true)))
            }
            var frames = inbound.makeAsyncIterator()
            return try await Self.answer(&frames)
        }
    }

    /// What comes up to the end of the stream or a reset.
    static func answer(_ frames: inout Frames) async throws -> Answer {
        var answer = Answer(status: "", headers: [:], body: "")
        do {
            while let payload = try await frames.next() {
                switch payload {
                case .headers(let frame):
                    answer.status += frame.headers.first(name: ":status") ?? ""
                    answer.headers = frame.headers
                    if frame.endStream { return answer }
                case .data(let frame):
                    if case .byteBuffer(let bytes) = frame.data { answer.body += String(buffer: bytes) }
                    if frame.endStream { return answer }
                case .rstStream(let code): answer.reset = code
                default: break
                }
            }
        } catch let error as NIOHTTP2Errors.StreamClosed {
            answer.reset = error.errorCode
        }
        return answer
    }

    /// The code with which the server says goodbye.
    func goodbye() async -> (last: HTTP2StreamID, code: HTTP2ErrorCode)? {
        for await frame in root {
            if case .goAway(let last, let code, _) = frame.payload { return (last, code) }
        }
        return nil
    }
}

private final class RootFrames: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame

    private let continuation: AsyncStream<HTTP2Frame>.Continuation

    init(_ continuation: AsyncStream<HTTP2Frame>.Continuation) { self.continuation = continuation }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { continuation.yield(unwrapInboundIn(data)) }

    func channelInactive(context: ChannelHandlerContext) {
        continuation.finish()
        context.fireChannelInactive()
    }
}
